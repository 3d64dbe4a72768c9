"""The figures of a job, computed from what it reported. Pure: a story in, numbers out.

Losses, tokens, bytes and blocked seconds are measured by the job itself; energy and renewable
shares are modelled by the control plane from the chips' stated power and the sites' supply.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from skep.model.views import ProgressLine, RunView
from skep.web.story import Story, number

MEASURED = ("step", "final")
LATE = 3  # the loss at the end is the mean of so many last lines


@dataclass(frozen=True, slots=True)
class SiteFigures:
    """One site's part. ``None``: not reported. Counts are sums over its runs."""

    site: str
    chip: str
    chips: int
    phase: str
    first_loss: float | None
    last_loss: float | None
    steps: int
    tokens: int
    tokens_per_s: float  # over the time that it trained
    rate_now: float  # of the last line
    blocked_s: float  # the training loop waited for exchange
    trained_s: float
    bytes_sent: int
    bytes_received: int
    round: int
    participants: int
    over_pace: float | None  # share of the steps that overran the stated chip speed
    power: float  # W at the meter while at work
    energy: float  # J
    renewable: float  # share of the energy


@dataclass(frozen=True, slots=True)
class Figures:
    """A job over all its sites. Times in s, energy in J."""

    name: str
    phase: str
    wall_s: float
    sites: tuple[SiteFigures, ...]
    first_loss: float | None
    last_loss: float | None
    heldout_first: float | None
    heldout_last: float | None
    tokens: int
    tokens_per_s: float
    bytes_sent: int
    bytes_per_token: float | None
    plain_bytes_per_token: float | None  # of plain data parallelism, every step
    rounds: int
    blocked_s: float
    over_pace: float | None
    energy: float
    renewable: float

    @property
    def saving(self) -> float | None:
        """How many times fewer bytes a token than plain data parallelism."""
        if not self.bytes_per_token or not self.plain_bytes_per_token:
            return None
        return self.plain_bytes_per_token / self.bytes_per_token

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"saving": self.saving}


def figures(story: Story, now: float) -> Figures:
    """All figures of a job. ``now`` (seconds since the epoch) ends what has not ended."""
    job = story.job
    sites = tuple(_site(story, site) for site in story.sites())
    tokens, sent = sum(s.tokens for s in sites), sum(s.bytes_sent for s in sites)
    held_out = _heldout(story)
    energy = sum(s.energy for s in sites)
    return Figures(
        name=job.name,
        phase=job.phase,
        wall_s=max(0.0, (job.ended_at or now) - story.began()),
        sites=sites,
        first_loss=_mean(s.first_loss for s in sites),
        last_loss=_mean(s.last_loss for s in sites),
        heldout_first=held_out[0] if len(held_out) > 1 else None,
        heldout_last=held_out[-1] if held_out else None,
        tokens=tokens,
        tokens_per_s=_per_second(story, tokens),
        bytes_sent=sent,
        bytes_per_token=sent / tokens if tokens and len(sites) > 1 else None,
        plain_bytes_per_token=_plain(story),
        rounds=max((s.round for s in sites), default=0),
        blocked_s=sum(s.blocked_s for s in sites),
        over_pace=_weighted((s.over_pace, s.steps) for s in sites),
        energy=energy,
        renewable=sum(s.energy * s.renewable for s in sites) / energy if energy else 0.0,
    )


def _site(story: Story, site: str) -> SiteFigures:
    runs = story.runs_at(site)
    lines = [e for e in story.of_kind(*MEASURED) if e.site == site]
    newest = _newest(lines)
    last = lines[-1].line if lines else {}
    losses = [v for e in lines if (v := number(e.line, "loss")) is not None]
    tokens, trained = _sum(newest, "tokens"), _trained(lines)
    energy, renewable = _energy(runs)
    return SiteFigures(
        site=site,
        chip=runs[-1].chip,
        chips=runs[-1].chips,
        phase=runs[-1].phase,
        first_loss=losses[0] if losses else None,
        last_loss=fmean(losses[-LATE:]) if losses else None,
        steps=int(_sum(newest, "step")),
        tokens=int(tokens),
        tokens_per_s=tokens / trained if trained else 0.0,
        rate_now=number(last, "tokens_per_s") or 0.0,
        blocked_s=_sum(newest, "exchange_s"),
        trained_s=trained,
        bytes_sent=int(_sum(newest, "bytes_sent")),
        bytes_received=int(_sum(newest, "bytes_received")),
        round=int(number(last, "round") or 0),
        participants=int(number(last, "participants") or 0),
        over_pace=_weighted((number(x, "steps_over_pace"), number(x, "step")) for x in newest),
        power=sum(run.power for run in runs if run.ended_at is None),
        energy=energy,
        renewable=renewable,
    )


def _newest(lines: Sequence[ProgressLine]) -> list[dict[str, Any]]:
    """The last line of each run: its counters count from the start of the run."""
    return list({entry.run: entry.line for entry in lines}.values())


def _sum(lines: Iterable[dict[str, Any]], name: str) -> float:
    return sum(number(line, name) or 0.0 for line in lines)


def _trained(lines: Sequence[ProgressLine]) -> float:
    """Seconds from the first to the last line of each run, summed."""
    spans: dict[str, list[float]] = {}
    for entry in lines:
        if (at := number(entry.line, "t")) is not None:
            spans.setdefault(entry.run, []).append(at)
    return sum(max(times) - min(times) for times in spans.values())


def _per_second(story: Story, tokens: int) -> float:
    times = [t for e in story.of_kind(*MEASURED) if (t := number(e.line, "t")) is not None]
    span = max(times) - min(times) if times else 0.0
    return tokens / span if span else 0.0


def _plain(story: Story) -> float | None:
    """As the newest final lines say: exact, from parameters, sites and tokens per step."""
    told = {e.site: number(e.line, "ddp_bytes_per_token") for e in story.of_kind("final")}
    return _mean(value for value in told.values() if value)


def heldout(story: Story) -> list[tuple[float, str, float]]:
    """(time, site, held-out loss) of each measurement."""
    found = []
    for entry in story.lines:
        value, at = number(entry.line, "heldout_loss"), number(entry.line, "t")
        if value is not None:
            found.append((at or 0.0, entry.site, value))
    return found


def _heldout(story: Story) -> list[float]:
    """Held-out losses in order; at the end those that are marked as final, averaged."""
    final = [
        value
        for entry in story.lines
        if entry.line.get("final") is True
        and (value := number(entry.line, "heldout_loss")) is not None
    ]
    values = [value for _, _, value in heldout(story)]
    return [*values, fmean(final)] if final else values


def _energy(runs: Sequence[RunView]) -> tuple[float, float]:
    joules = sum(run.energy for run in runs)
    clean = sum(run.energy * run.renewable for run in runs)
    return joules, clean / joules if joules else 0.0


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _weighted(pairs: Iterable[tuple[float | None, float | None]]) -> float | None:
    known = [(value, weight or 0.0) for value, weight in pairs if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None
