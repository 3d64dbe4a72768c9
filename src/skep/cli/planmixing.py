"""``skep plan --on A+B`` and ``--pool FILE``: parts that are not alike train together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from skep.cli.matchtext import middle
from skep.cli.planning import Ask, Shown, systems
from skep.cli.plantext import rows
from skep.errors import InputError
from skep.files.fleet import parse_fleets
from skep.files.pool import load_pool, resolve_chips
from skep.model.site import Site
from skep.planner.bill import Prices
from skep.planner.learning import learnt
from skep.planner.links import Links
from skep.planner.match import Side, ratio
from skep.planner.mixture import Mixture, Share, mixture
from skep.planner.parts import Part
from skep.planner.training import Link, learning, together
from skep.planner.words import amount, digits, layout_words, span, time_span, time_words, usd_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skep.model.chip import Chip

HERE = "here"


@dataclass(frozen=True, slots=True)
class Parts:
    """What is to be planned: parts, the links between their sites, all chips, how it is called."""

    parts: tuple[Part, ...]
    links: Links
    chips: Mapping[str, Chip]
    name: str
    everything: bool


def of_fleets(ask: Ask, text: str) -> Parts:
    """The parts of ``A+B``: at one place without ``--link``, else each kind at a site of its own.

    With ``--sites`` each kind stands at so many sites.
    """
    fleets = parse_fleets(text, ask.chips, systems(), "--on")
    link, each = ask.under.link, ask.under.sites
    parts = []
    for fleet in fleets:
        assert fleet.count is not None
        if fleet.count % each:
            allowed = f"allowed: chips that {each} sites can share alike"
            raise InputError("--on", str(fleet), allowed)
        for number in range(each):
            site = HERE if link is None else fleet.chip.kind + (f"-{number + 1}" * (each > 1))
            parts.append(Part(site, fleet.chip, fleet.count // each, ask.under.prices))
    sites = [part.site for part in parts]
    if link is not None and len(set(sites)) < len(sites):
        raise InputError("--on", text, "allowed: each kind of chip once")
    joined = {frozenset((a, b)): link for a in sites for b in sites if link and a != b}
    name = " + ".join(f"{f.count:,} x {f.chip.kind}" for f in fleets)
    return Parts(tuple(parts), joined, ask.chips, name, everything=True)


def of_pool(ask: Ask, path: Path) -> Parts:
    """The parts of a pool file: each kind of each site, with its power cap, prices and links."""
    pool = load_pool(path)
    chips = {**ask.chips, **resolve_chips(pool)}
    parts = [part for site in pool.sites for part in _of_site(site, chips, ask.under.prices)]
    links = {frozenset(link.between): Link(link.bandwidth, link.rtt) for link in pool.links}
    return Parts(tuple(parts), links, chips, f"{pool.name} ({path})", everything=False)


def _of_site(site: Site, chips: Mapping[str, Chip], usual: Prices) -> list[Part]:
    """Its kinds share its cap in proportion to what they draw at most."""
    power = site.power
    prices = usual
    if power is not None:
        grid = power.supply.grid
        prices = Prices(
            pue=power.pue,
            usd_per_kwh=usual.usd_per_kwh if grid.price is None else grid.price / 1e3,
            carbon=usual.carbon if grid.carbon is None else grid.carbon,
        )
    drawn = {pool: pool.chips * chips[pool.chip].busy_power for pool in site.pools}
    whole = sum(drawn.values())
    return [
        Part(
            site.name,
            chips[pool.chip],
            pool.chips,
            prices,
            power.cap * drawn[pool] / whole if power is not None and whole else None,
        )
        for pool in site.pools
    ]


Goal = tuple[str, Side]
"""What is to be matched: how it is called, and what it does."""


def planned(ask: Ask, asked: Parts, goal: Goal | None = None) -> Shown:
    """The answer in its three forms; with a ``goal``, compared with it."""
    work = ask.model.workload
    correct = learning(ask.runs, work, ask.tools, learnt) if ask.runs else None
    plan = mixture(
        work, asked.parts, asked.links, asked.chips.values(), ask.under, ask.tools, correct,
        asked.everything,
    )  # fmt: skip

    def draw(path: Path) -> None:
        from skep.web.mixtureplot import mixture_picture

        mixture_picture(plan, path)

    return Shown(_text(ask, plan, asked.name, goal), lambda: as_json(ask, plan, goal), draw)


def _text(ask: Ask, plan: Mixture, name: str, goal: Goal | None) -> Sequence[Text | Table | str]:
    gaps = sorted({(s.part.chip.kind, g) for s in plan.shares for g in s.training.filled.gaps})
    learned = {(s.part.chip.kind, str(s.training.correction)) for s in plan.shares if ask.runs}
    return (
        Text(f"{plan.work.name} on {name}", style="bold"),
        rows([*_lines(ask, plan), *_compared(plan, goal)]),
        "",
        _table(plan),
        "",
        *(_layout(one) for one in plan.shares),
        *([""] if plan.left else []),
        *(f"left out: {_name(one.part)} ({one.part.count:,}): {one.why}" for one in plan.left),
        *([""] if gaps or learned else []),
        *(f"learnt: {kind}: {word}" for kind, word in sorted(learned)),
        *(f"not published: {kind}: {gap}" for kind, gap in gaps),
        *(f"assumed: {word}" for word in ask.model.assumed),
    )


def _lines(ask: Ask, plan: Mixture) -> list[tuple[str, str]]:
    work, good = plan.work, plan.goodput
    fast, slow = work.tokens_per_step / plan.high, work.tokens_per_step / plan.low
    band = span(plan.low, plan.high, "tokens/s", 3)
    stopped = "all, as every step is shared" if _each_step(ask) else "its own part"
    return [
        ("batch", f"{work.global_batch:,} x {work.seq_len:,} tokens, shared by speed"),
        ("step", f"{time_words(plan.step)} ({time_span(fast, slow)} with the exchange)"),
        ("speed", f"{amount(plan.rate, 'tokens/s')} while nothing fails ({band})"),
        *_exchange(ask, plan),
        (
            "failures",
            f"one each {time_words(good.between)}, stops {stopped}; {good.share:.0%} of the "
            f"time is progress; {good.spares:,} chips spare",
        ),
        ("training", _whole(plan)),
        *_bills(plan),
    ]


def _compared(plan: Mixture, goal: Goal | None) -> list[tuple[str, str]]:
    """How it stands to what is to be matched."""
    if goal is None:
        return []
    name, one = goal
    times = compared(plan, one)
    low, high = times["tokens_per_s_low"] or 0.0, times["tokens_per_s_high"] or 0.0
    text = (
        f"{name} at one site does {amount(one.rate, 'tokens/s')}, failures included; these sites "
        f"×{digits(times['tokens_per_s'] or 0.0, 2)} (×{digits(low, 2)} to ×{digits(high, 2)})"
    )
    for what, key in (("chips", "chips"), ("power", "facility_power"), ("price", "price")):
        if (value := times[key]) is not None:
            text += f", {what} ×{digits(value, 2)}"
    return [("match", text)]


def compared(plan: Mixture, goal: Side) -> dict[str, float | None]:
    """Speed (with failures), chips, power, price of the whole over those of the goal."""
    drawn = [one.bill.power.facility for one in plan.shares]
    hardware = [one.bill.hardware for one in plan.shares]
    watts = None if None in drawn else sum(value for value in drawn if value is not None)
    price = None if None in hardware else sum(sum(h) / 2 for h in hardware if h is not None)
    faster = plan.real_rate / goal.rate
    return {
        "tokens_per_s": faster,
        "tokens_per_s_low": faster * together(plan.low / plan.rate, goal.rate / goal.high),
        "tokens_per_s_high": faster * together(plan.high / plan.rate, goal.rate / goal.low),
        "chips": ratio(plan.chips, goal.chips),
        "facility_power": ratio(watts, goal.power.facility),
        "price": ratio(price, middle([goal], "price")),
    }


def _exchange(ask: Ask, plan: Mixture) -> list[tuple[str, str]]:
    trip, link = plan.round, plan.link
    if trip is None or link is None:
        return [("exchange", "none: one part")]
    where = "at one place, over their own network cards" if link.rtt < 1e-3 else "between sites"
    loss = f"+{trip.loss_penalty:.2%}" if trip.loss_penalty >= 5e-5 else "below +0.01 %"
    loss += " at equal tokens, by two published points (docs/models/planning.md)"
    if _each_step(ask):
        loss = "as of one site: every step is shared"
    often = "every step" if _each_step(ask) else f"every {ask.under.exchange.interval} steps"
    enough = "no link would do: round trips take too long"
    if trip.enough < float("inf"):
        enough = f"{amount(trip.enough, 'bit/s', 2)} is enough for 95 % (the knee)"
    return [
        (
            "exchange",
            f"{often} ({time_words(trip.work)}) {where}: "
            f"{amount(trip.bytes_per_site, 'B')} each in {time_words(trip.exchange)} at "
            f"{amount(link.bandwidth, 'bit/s')}; {trip.utilisation:.1%} of the time is work; "
            f"{enough}",
        ),
        ("loss", loss),
    ]


def _each_step(ask: Ask) -> bool:
    return ask.under.exchange.interval == 1


def _whole(plan: Mixture) -> str:
    if plan.work.tokens is None:
        days = 1e12 / plan.real_rate if plan.real_rate else float("inf")
        return f"tokens not given (--tokens); {time_words(days)} for each 1 T"
    if plan.seconds is None:
        return "never: it fails before it gets anywhere"
    low, high = (plan.seconds * plan.rate / end for end in (plan.high, plan.low))
    told = f"{time_words(plan.seconds)} ({time_span(low, high)}), failures included"
    return f"{amount(plan.work.tokens, 'tokens')} in {told}"


def total(plan: Mixture, name: str) -> float | None:
    """The sum of a value of all parts' bills; ``None`` where one of them is not known."""
    found = [getattr(one.bill, name) for one in plan.shares]
    return None if None in found else float(sum(found))


def _bills(plan: Mixture) -> list[tuple[str, str]]:
    drawn = [one.bill.power.facility for one in plan.shares]
    lines = []
    if None not in drawn:
        watts = sum(value for value in drawn if value is not None)
        lines.append(("power", f"{amount(watts, 'W')} with the buildings"))
    joules = total(plan, "joules")
    if plan.seconds is not None and joules is not None:
        usd, carbon = total(plan, "usd"), total(plan, "carbon_kg")
        text = amount(joules / 3600, "Wh")
        text += "; cost: give --price" if usd is None else f"; {amount(usd, 'USD', 2)}"
        text += (
            "; carbon: not known of every site"
            if carbon is None
            else (f"; {digits(carbon / 1e3, 2)} t CO2")
        )
        lines.append(("energy", text))
    hardware = [one.bill.hardware for one in plan.shares]
    if None not in hardware:
        low, high = (sum(h[end] for h in hardware if h is not None) for end in (0, 1))
        lines.append(("price", f"{usd_words(low, high)} to buy the chips"))
    return lines


def _table(plan: Mixture) -> Table:
    from skep.cli.tables import table

    columns = ("CHIPS", "SEQUENCES", "A CHIP", "STEP", "WAITS", "POWER")
    made = table("PART", *columns, right=columns, whole=True)
    batch = plan.work.global_batch
    for one in plan.shares:
        at = one.training
        watts = one.bill.power.facility
        made.add_row(
            _name(one.part),
            f"{at.chips:,}" + (f" of {one.part.count:,}" if at.chips < one.part.count else ""),
            f"{at.work.global_batch:,} ({at.work.global_batch / batch:.0%})",
            f"{digits(one.rate / at.chips)}/s",
            time_words(at.step),
            f"{one.waits:.0%}",
            "not known" if watts is None else amount(watts, "W"),
        )
    return made


def _layout(one: Share) -> str:
    at = one.training.best
    return f"{_name(one.part)} ({at.status}): {layout_words(at.layout)}"


def _name(part: Part) -> str:
    return (
        part.chip.kind if part.site in (HERE, part.chip.kind) else f"{part.site} {part.chip.kind}"
    )


def as_json(ask: Ask, plan: Mixture, goal: Goal | None = None) -> dict[str, object]:
    """The whole answer in base units."""
    from skep.cli.planjson import bill_json, model_json, side_json

    whole = plan.seconds is not None
    target = side_json(goal[1]) if goal else None
    return {
        "model": model_json(ask.model),
        "target": target,
        "times": compared(plan, goal[1]) if goal else None,
        "chips": plan.chips,
        "global_batch": plan.work.global_batch,
        "step_s": plan.step,
        "tokens_per_s": plan.rate,
        "tokens_per_s_low": plan.low,
        "tokens_per_s_high": plan.high,
        "tokens_per_s_with_failures": plan.real_rate,
        "exchange": asdict(plan.round) if plan.round else None,
        "link_bit_s": plan.link.bandwidth if plan.link else None,
        "goodput": asdict(plan.goodput),
        "seconds": plan.seconds,
        "joules": total(plan, "joules") if whole else None,
        "electricity_usd": total(plan, "usd") if whole else None,
        "carbon_kg": total(plan, "carbon_kg") if whole else None,
        "parts": [
            {
                "site": one.part.site,
                "chip": one.part.chip.kind,
                "chips": one.training.chips,
                "chips_there": one.part.count,
                "sequences": one.training.work.global_batch,
                "tokens_per_s": one.rate,
                "step_s": one.training.step,
                "waits": one.waits,
                "status": one.training.best.status,
                "layout": asdict(one.training.best.layout),
                "learnt": asdict(one.training.correction),
                "not_published": one.training.filled.gaps,
                "bill": bill_json(one.bill, whole),
            }
            for one in plan.shares
        ],
        "left_out": [
            {"site": o.part.site, "chip": o.part.chip.kind, "chips": o.part.count, "why": o.why}
            for o in plan.left
        ],
    }
