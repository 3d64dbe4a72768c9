"""The picture of a training over parts that are not alike."""

from __future__ import annotations

from pathlib import Path

from skep.planner.mixture import Mixture
from skep.planner.words import amount
from skep.web.planplots import COLOURS, SOFT, figure


def mixture_picture(plan: Mixture, path: Path) -> None:
    """What each part brings and draws: chips, tokens/s, W with the building, in % of the whole."""
    with figure(path, 8.6, 2.4 + 0.3 * len(plan.shares)) as made:
        axes = made.add_subplot()
        drawn = [one.bill.power.facility for one in plan.shares]
        rows = {
            "chips": [float(one.training.chips) for one in plan.shares],
            "speed": [one.rate for one in plan.shares],
        }
        if None not in drawn:
            rows["power"] = [value for value in drawn if value is not None]
        units = {"chips": "", "speed": "tokens/s", "power": "W"}
        left = dict.fromkeys(rows, 0.0)
        lines = {name: float(line) for line, name in enumerate(rows)}
        axes.set_yticks(list(lines.values()), list(lines))
        for place, one in enumerate(plan.shares):
            for name, values in rows.items():
                part = values[place] / sum(values) * 100
                label = f"{one.part.site}: {one.part.chip.kind}" if name == "chips" else None
                colour = COLOURS[place % len(COLOURS)]
                axes.barh(lines[name], part, left=left[name], color=colour, height=0.6, label=label)
                text = amount(values[place], units[name]).strip()
                if part > 1.1 * len(text):
                    axes.text(left[name] + part / 2, lines[name], text, ha="center", va="center",
                              color="white", fontsize=8.5)  # fmt: skip
                left[name] += part
        axes.set(xlim=(0, 100), xlabel="% of the whole")
        axes.set_title(f"{plan.work.name}: {amount(plan.rate, 'tokens/s')} together")
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", colors=SOFT)
        made.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
