"""The body of the agent's loop: what should be, less what is, gives what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skep.model.job import OnSiteLoss
from skep.model.message import Answer, Order, RunReport

ENDED = frozenset({"succeeded", "failed", "stopped"})
DEFAULT_GRACE = 10.0
NOT_ORDERED = "the control plane does not know of this run here"
LEASE_OUT = "the site's lease ran out: no word from the control plane"


@dataclass(frozen=True, slots=True)
class Prepare:
    """Take the run on."""

    order: Order


@dataclass(frozen=True, slots=True)
class Go:
    """Start the processes of a run that is ready."""

    order: Order


@dataclass(frozen=True, slots=True)
class Stop:
    """End the run; also one that was never seen, so that it never starts."""

    run: str
    grace: float
    reason: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop what is left of an ended run."""

    run: str


Action = Prepare | Go | Stop | Forget


def decide(
    answer: Answer | None,
    reports: Sequence[RunReport],
    now: float,
    lease_until: float | None,
    policies: Mapping[str, OnSiteLoss],
) -> tuple[Action, ...]:
    """The actions that bring the runs of the engine to what the last answer says.

    ``reports`` is all that the engine holds; ``lease_until`` the end of the site's lease on the
    clock of ``now`` (None: there never was one); ``policies`` says per run what its job wants when
    a site is lost ("replace" where unknown). Once the lease has run out nothing starts, and runs
    that may be placed elsewhere stop. Doing the actions and deciding again gives none.
    """
    seen = {report.run: report for report in reports}
    if lease_until is not None and now >= lease_until:
        return _without_lease(seen, policies, answer)
    if answer is None:
        return ()
    orders = {order.run: order for order in answer.orders}
    forget = tuple(Forget(run) for run in answer.forget if run in seen and _ended(seen[run]))
    ordered = tuple(action for order in orders.values() if (action := _follow(order, seen)))
    stray = tuple(
        Stop(run, DEFAULT_GRACE, NOT_ORDERED)
        for run, report in seen.items()
        if run not in orders and not _ended(report)
    )
    return (*stray, *ordered, *forget)


def _follow(order: Order, seen: Mapping[str, RunReport]) -> Action | None:
    report = seen.get(order.run)
    if order.step == "stop":
        done = report is not None and _ended(report)
        grace = order.grace if order.notice is None else order.notice
        return None if done else Stop(order.run, grace, order.reason)
    if report is None:
        return Prepare(order)
    return Go(order) if order.step == "go" and report.phase == "ready" else None


def _without_lease(
    seen: Mapping[str, RunReport], policies: Mapping[str, OnSiteLoss], answer: Answer | None
) -> tuple[Action, ...]:
    graces = {order.run: order.grace for order in answer.orders} if answer else {}
    return tuple(
        Stop(run, graces.get(run, DEFAULT_GRACE), LEASE_OUT)
        for run, report in seen.items()
        if not _ended(report) and policies.get(run, "replace") != "wait"
    )


def _ended(report: RunReport) -> bool:
    return report.phase in ENDED
