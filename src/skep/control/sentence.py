"""Events as sentences, for ``skep show``, ``skep why`` and the report."""

from __future__ import annotations

from skep.model.event import (
    CancelRequested,
    Claimed,
    Deferred,
    Ending,
    Event,
    GangExpired,
    GangReady,
    JobEnded,
    Migrated,
    Placed,
    Preempted,
    Resized,
    Retried,
    RunEnded,
    RunReady,
    RunStarted,
    RunStopping,
    SiteJoined,
    SiteLost,
    SiteReturned,
    Submitted,
)


def sentence(event: Event) -> str:
    """One line that says what happened and why."""
    match event:
        case Submitted() | Placed() | Deferred() | GangReady():
            return _of_placing(event)
        case RunReady() | RunStarted() | RunStopping() | RunEnded():
            return _of_run(event)
        case SiteJoined() | SiteLost() | SiteReturned():
            return _of_site(event)
        case Preempted() | Claimed() | Resized() | Migrated():
            return event.reason
        case _:
            return _of_ending(event)


def _of_placing(event: Submitted | Placed | Deferred | GangReady) -> str:
    match event:
        case Submitted():
            by = f" by {event.user}" if event.user else ""
            return f"submitted to queue {event.spec.queue}{by}"
        case Placed():
            verb = "placed again" if event.repair else "grows by" if event.grow else "placed"
            runs = ", ".join(f"{g.share.chips} at {g.share.site}" for g in event.runs)
            kind = event.runs[0].share.chip if event.runs else "chips"
            return f"attempt {event.attempt} {verb}: {kind}: {runs}; {event.reason}"
        case Deferred():
            return f"waits: {event.reason}"
        case GangReady():
            return f"all runs of attempt {event.attempt} are ready: go"


def _of_ending(event: GangExpired | Retried | Ending | CancelRequested | JobEnded) -> str:
    match event:
        case GangExpired() | Retried():
            return event.reason
        case Ending():
            return f"is to end as {event.outcome}: {event.reason}"
        case CancelRequested():
            return "cancel asked for" + (f" by {event.user}" if event.user else "")
        case JobEnded():
            return f"{event.outcome}: {event.reason}"


def _of_run(event: RunReady | RunStarted | RunStopping | RunEnded) -> str:
    match event:
        case RunReady():
            where = f", exchange at {event.address}" if event.address else ""
            return f"run {event.run} is ready{where}"
        case RunStarted():
            return f"run {event.run} has started"
        case RunStopping():
            return f"run {event.run} is asked to stop: {event.reason}"
        case RunEnded():
            code = f" (exit {event.exit_code})" if event.exit_code is not None else ""
            why = f": {event.reason}" if event.reason else ""
            nodes = f", on {', '.join(event.nodes)}" if event.nodes else ""
            return f"run {event.run} {event.outcome}{nodes}{code}{why}"


def _of_site(event: SiteJoined | SiteLost | SiteReturned) -> str:
    word = {"site_joined": "is up", "site_lost": "is lost", "site_returned": "is back"}
    return f"site {event.site} {word[event.kind]}: {event.reason}"
