"""Check: what this pool and policy can never run, told when a job is submitted."""

from __future__ import annotations

from dataclasses import replace

from skep.errors import DeniedError, InputError, nearest
from skep.model.job import Job
from skep.model.policy import Policy
from skep.model.snapshot import Ints, Rates, Shape, Snapshot, Waiting
from skep.scheduler.ask import Ask, asks_of
from skep.scheduler.board import Atlas, Board
from skep.scheduler.explain import wanted
from skep.scheduler.ledger import Ledger
from skep.scheduler.outlook import most, sites_needed
from skep.scheduler.room import free_in_nodes, in_worth
from skep.scheduler.search import possible


def admissible(
    spec: Job,
    snapshot: Snapshot,
    policy: Policy,
    user: str = "",
    atlas: Atlas | None = None,
    rates: Rates = (),
) -> None:
    """Return if the pool, all free and all up, could hold the job; load and power do not count.

    ``rates`` are the job's.

    Raises ``InputError`` for an unknown queue, a chip kind that no site has, more chips than there
    are and a span that the pool does not have; ``DeniedError`` for a queue that is not the user's.
    """
    _queue(spec, policy, user)
    _span(spec, snapshot)
    shape = Shape.of(spec, rates=rates)
    board, ledger = Board(snapshot, policy, 0.0, atlas), Ledger.empty_pool(snapshot, policy)
    problems = []
    for ask in asks_of(Waiting("", 0, 0, 0, 0.0), shape, board, ledger):
        problem = _problem(board, ledger, ask, spec)
        if problem is None:
            return
        problems.append(problem)
    raise problems[0]


def _queue(spec: Job, policy: Policy, user: str) -> None:
    queue = policy.queue(spec.queue)
    if queue is None:
        known = [q.name for q in policy.queues]
        allowed = f"allowed: {', '.join(known)}{nearest(spec.queue, known)}"
        raise InputError("queue", spec.queue, allowed)
    if queue.users and user not in queue.users:
        who = repr(user) if user else "a user without a name"
        raise DeniedError(f"queue {queue.name}: {who} may not use it; ask an operator")
    least = spec.elastic.min if spec.elastic else min(c.count for c in spec.chips)
    if queue.max_chips is not None and least > queue.max_chips:
        allowed = f"allowed: {queue.max_chips} or fewer, the quota of queue {queue.name}"
        raise InputError(_count_field(spec), least, allowed)


def _span(spec: Job, snapshot: Snapshot) -> None:
    count = len(snapshot.sites.names)
    field = "span.max" if spec.span.min <= count else "span.min"
    if spec.span.most > count:
        value = spec.span.most if field == "span.max" else spec.span.min
        raise InputError(field, value, f"allowed: {count} or fewer, the pool has {count} sites")


def _problem(board: Board, ledger: Ledger, ask: Ask, spec: Job) -> InputError | None:
    if not set(ask.kind.split("+")) & set(board.kinds):
        known = ", ".join(sorted(board.kinds))
        allowed = f"allowed: {known}{nearest(ask.kind, board.kinds)}"
        return InputError("chips.kind", ask.kind, allowed)
    columns = board.columns(ask.kind)
    field, total = _count_field(spec), int(columns.chips.sum())
    if not ask.worth and ask.least > total:
        allowed = f"allowed: {total} or fewer, the pool has {total} {ask.kind}"
        return InputError(field, ask.least, allowed)
    rooms = in_worth(board, columns, ask, free_in_nodes(columns, ledger, ask))
    if possible(columns, rooms, ask):
        return None
    return InputError(field, ask.least, _advice(board, ask, rooms))


def _advice(board: Board, ask: Ask, rooms: Ints) -> str:
    fewer = most(board, ask, rooms)
    allowed = f"allowed: {fewer} or fewer" if fewer else "allowed: chips that some site has"
    needed = sites_needed(board, ask, rooms)
    wider = f", or span.max of {needed} or more" if needed and needed > ask.sites_max else ""
    return f"{allowed}{wider}: the pool cannot hold {wanted(replace(ask, most=ask.least))}"


def _count_field(spec: Job) -> str:
    return "elastic.min" if spec.elastic else "chips"
