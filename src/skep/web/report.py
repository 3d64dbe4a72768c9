"""The report of a job: one HTML file that needs nothing else, neither network nor scripts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from skep import __version__
from skep.control.sentence import sentence
from skep.units import duration, si
from skep.web import plots
from skep.web.figures import Figures, figures
from skep.web.story import Story


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the large numbers at the top."""

    name: str
    value: str
    note: str = ""
    good: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing with what is to be seen in it."""

    title: str
    svg: str
    note: str = ""


def write_report(path: Path, story: Story, told: Figures, alone: Story | None, now: float) -> Path:
    """Write the report of ``story`` to ``path``, whole or not at all. Raises ``OSError``.

    ``alone`` is the same job at one site; ``now`` (seconds since the epoch) ends what goes on.
    """
    path = path.expanduser().absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(render(story, told, alone, now), encoding="utf-8")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return path


def render(story: Story, told: Figures, alone: Story | None, now: float) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("skep.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"si": si, "duration": duration, "loss": loss_text}
    single = figures(alone, now) if alone is not None else None
    return environment.get_template("report.html.j2").render(
        job=story.job,
        told=told,
        alone=single,
        tiles=tiles(told, single),
        plots=all_plots(story, alone, told, now),
        history=history(story),
        spec=spec_text(story),
        pool=story.pool,
        written=datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
    )


def loss_text(value: float | None) -> str:
    """A loss with three decimals."""
    return "–" if value is None else f"{value:.3f}"


def tiles(told: Figures, alone: Figures | None) -> list[Tile]:
    """The large numbers, those that are known."""
    return [tile for tile in (
        _heldout_tile(told, alone),
        _rate_tile(told),
        _bytes_tile(told),
        _blocked_tile(told),
        _energy_tile(told),
        Tile("time", duration(told.wall_s), f"{told.rounds} rounds" if told.rounds else ""),
    ) if tile is not None]  # fmt: skip


def _heldout_tile(told: Figures, alone: Figures | None) -> Tile | None:
    last = told.heldout_last
    if last is None:
        if told.last_loss is None:
            return None
        return Tile("loss", loss_text(told.last_loss), f"from {loss_text(told.first_loss)}")
    if alone is None or alone.heldout_last is None:
        return Tile("held-out loss", loss_text(last))
    gain = alone.heldout_last - last
    word = "better" if gain >= 0 else "worse"
    note = f"{abs(gain):.3f} {word} than {alone.sites[0].site} alone ({alone.heldout_last:.3f})"
    return Tile("held-out loss", loss_text(last), note, good=gain > 0)


def _rate_tile(told: Figures) -> Tile | None:
    if not told.tokens:
        return None
    return Tile("tokens a second", f"{told.tokens_per_s:,.0f}", f"{told.tokens:,} in all")


def _bytes_tile(told: Figures) -> Tile | None:
    if told.bytes_per_token is None:
        return None
    value = f"{told.bytes_per_token:,.1f} B"
    if told.saving is None:
        return Tile("sent per token", value, f"{si(told.bytes_sent, 'B')} in all")
    note = f"{told.saving:,.0f}× less than plain data parallelism"
    return Tile("sent per token", value, note, good=told.saving > 1)


def _blocked_tile(told: Figures) -> Tile | None:
    trained = sum(s.trained_s for s in told.sites)
    if not trained or len(told.sites) < 2:
        return None
    return Tile("waiting for exchange", f"{told.blocked_s / trained:.1%}", "of the training time")


def _energy_tile(told: Figures) -> Tile | None:
    if not told.energy:
        return None
    return Tile("energy", si(told.energy, "J"), f"{told.renewable:.0%} renewable (modelled)")


def all_plots(story: Story, alone: Story | None, told: Figures, now: float) -> list[Plot]:
    """The drawings for which there is something to draw."""
    made: list[Plot] = []
    if any(s.last_loss is not None for s in told.sites):
        note = "Training loss of each site (thin: as measured; thick: smoothed) and held-out loss."
        made.append(Plot("Loss", plots.loss_plot(story, alone), note))
    if told.tokens:
        note = "The sites upon one another: the upper edge is the whole job."
        made.append(Plot("Tokens per second", plots.rate_plot(story), note))
    if told.bytes_sent:
        note = "What a site's process really sent on its sockets, protocol included."
        made.append(Plot("Exchange", plots.exchange_plot(story), note))
    if story.job.runs:
        note = "Light: preparing. Full: at work. Dotted: what befell the job."
        made.append(Plot("Runs", plots.gantt_plot(story, now), note))
    made += [
        Plot(f"Power of {site}", plots.power_plot(story, site), "Modelled; see below.")
        for site in plots.powered(story)
    ]
    return made


def history(story: Story) -> list[dict[str, Any]]:
    """What happened, with seconds since the submit."""
    begin = story.job.submitted_at
    said = [
        {"at": logged.event.at - begin, "text": sentence(logged.event)} for logged in story.events
    ]
    said += [
        {
            "at": float(entry.line.get("t") or begin) - begin,
            "text": f"{entry.site}: {entry.line.get('text', '')}",
        }
        for entry in story.of_kind("event")
    ]
    return sorted(said, key=lambda row: float(row["at"]))


def spec_text(story: Story) -> str:
    """What was asked for, as YAML; values of the environment stay out, as they may be secret."""
    import yaml

    data = story.job.spec.model_dump(mode="json", exclude_defaults=True)
    if "env" in data:
        data["env"] = dict.fromkeys(data["env"], "…")
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
