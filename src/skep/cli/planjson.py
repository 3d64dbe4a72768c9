"""Plans as JSON: base units (s, bytes, W, J, USD, tokens/s), nothing rounded, ``null`` unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from skep.cli.matchtext import cabinets, middle, total
from skep.files.workload import Model
from skep.planner.bill import Bill
from skep.planner.match import Side, ratio
from skep.planner.serve import Served
from skep.planner.servingplan import Serving
from skep.planner.sweep import Point
from skep.planner.training import Conditions, Training

if TYPE_CHECKING:
    from skep.cli.planmatching import Found

Json = Mapping[str, object]


def model_json(model: Model) -> Json:
    """What is trained or served, and where it is from."""
    work = model.workload
    return {
        "name": work.name,
        "parameters": work.parameters,
        "active_parameters": work.active_parameters,
        "source": model.source,
        "assumed": model.assumed,
        "workload": work.model_dump(),
    }


def training(model: Model, plan: Training, under: Conditions) -> Json:
    """The whole answer to ``--on``."""
    best = plan.best
    return {
        "model": model_json(model),
        "chip": plan.filled.chip.kind,
        "chips": plan.chips,
        "sites": under.sites,
        "status": best.status,
        "not_published": plan.filled.gaps,
        "layout": asdict(best.layout),
        "step_s": plan.step,
        "step_low_s": plan.low,
        "step_high_s": plan.high,
        "parts_s": {name: time * plan.correction.factor for name, time in best.parts.items()},
        "tokens_per_s": plan.rate,
        "tokens_per_s_with_failures": plan.real_rate,
        "mfu": plan.mfu,
        "memory_bytes": dict(best.memory),
        "memory_total_bytes": best.memory_total,
        "memory_limit_bytes": best.memory_limit,
        "busy": plan.busy,
        "goodput": asdict(plan.goodput),
        "exchange": asdict(plan.round) if plan.round else None,
        "learnt": asdict(plan.correction),
        "seconds": plan.seconds,
        "bill": bill_json(plan.bill, plan.seconds is not None),
        "runners_up": [
            {
                "layout": asdict(one.estimate.layout),
                "step_s": one.estimate.step * plan.correction.factor,
                "slower": one.slower,
                "why": one.why,
            }
            for one in plan.ranking.runners_up
        ],
        "considered": plan.ranking.considered,
        "fitting": plan.ranking.fitting,
    }


def bill_json(bill: Bill, whole: bool) -> Json:
    """Power and price; energy, cost and carbon of the whole where it is known how long it is."""
    return {
        "power_w": asdict(bill.power),
        "joules": bill.joules if whole else None,
        "electricity_usd": bill.usd if whole else None,
        "carbon_kg": bill.carbon_kg if whole else None,
        "hardware_usd": bill.hardware,
        "hardware_share_usd": bill.owned if whole else None,
    }


def serving(model: Model, plan: Serving) -> Json:
    """The whole answer to ``--on … --serve``."""
    return {
        "model": model_json(model),
        "chip": plan.filled.chip.kind,
        "chips": plan.chips,
        "status": plan.chosen.instance.status,
        "not_published": plan.filled.gaps,
        "precision": plan.precision,
        "load": asdict(plan.load),
        "tokens_per_s": plan.rate,
        "tokens_per_s_low": plan.low,
        "tokens_per_s_high": plan.high,
        "chosen": way_json(plan.chosen),
        "together": way_json(plan.together),
        "apart": way_json(plan.apart),
        "decode": [asdict(cell) for cell in plan.cells],
        "cache_bytes_per_token": plan.chosen.instance.cache(1),
        "weights_bytes_per_chip": plan.chosen.instance.resident / plan.chosen.instance.chips,
        "bill_per_hour": bill_json(plan.bill, True),
    }


def way_json(way: Served | None) -> Json | None:
    """One way to serve."""
    if way is None:
        return None
    return {
        "instance_chips": way.instance.chips,
        "experts_spread": way.instance.spread,
        "prompt_share": way.prompt_share,
        "batch": way.batch,
        "tokens_per_s_per_chip": way.rate_per_chip,
        "ttft_s": way.ttft,
        "tpot_s": way.tpot,
        "limit": way.limit,
    }


def match(model: Model, found: Found, series: Sequence[tuple[str, Sequence[Point]]]) -> Json:
    """The whole answer to ``--match``, with the sweep of each kind."""
    goal = found.match.target
    return {
        "model": model_json(model),
        "target": side_json(goal),
        "alternatives": [
            {
                "chips": other.chips,
                "chips_low": other.fewest,
                "chips_high": other.most,
                "reached": other.reached,
                "sides": [side_json(one) for one in other.sides],
                "times": {
                    "chips": other.chips / goal.chips,
                    "chip_power": _times(other.sides, goal, "chip"),
                    "system_power": _times(other.sides, goal, "system"),
                    "facility_power": _times(other.sides, goal, "facility"),
                    "cabinets": ratio(cabinets(other.sides), goal.cabinets),
                    "floor": ratio(middle(other.sides, "floor"), middle([goal], "floor")),
                    "price": ratio(middle(other.sides, "price"), middle([goal], "price")),
                },
            }
            for other in found.match.alternatives
        ],
        "sweep": {kind: [asdict(point) for point in points] for kind, points in series},
    }


def _times(sides: tuple[Side, ...], goal: Side, name: str) -> float | None:
    return ratio(total(sides, name), total([goal], name))


def side_json(one: Side) -> Json:
    """One side of a match."""
    return {
        "chip": one.chip.kind,
        "chips": one.chips,
        "tokens_per_s": one.rate,
        "tokens_per_s_low": one.low,
        "tokens_per_s_high": one.high,
        "status": one.status,
        "layout": one.layout,
        "power_w": asdict(one.power),
        "cabinets": one.cabinets,
        "floor_m2": one.floor,
        "price_usd": one.price,
        "not_published": one.gaps,
    }
