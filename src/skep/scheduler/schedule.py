"""The scheduling function: a snapshot and a policy in, a plan out, in numbered steps.

Pure and deterministic: equal snapshots give equal plans, with a memory of the cycle before or
without. Smaller jobs go past a large one that does not fit yet as long as they do not delay it.
"""

from __future__ import annotations

from functools import partial

from skep.model.policy import Policy
from skep.model.snapshot import Plan, Snapshot
from skep.scheduler.ahead import Ahead
from skep.scheduler.board import Board
from skep.scheduler.cycle import Cycle
from skep.scheduler.evacuate import evacuate
from skep.scheduler.grow import grow, settles_at
from skep.scheduler.ledger import Ledger
from skep.scheduler.line import Line
from skep.scheduler.memory import Memory
from skep.scheduler.migrate import migrate
from skep.scheduler.stretch import stretch
from skep.scheduler.timeline import Timeline
from skep.scheduler.vacate import vacate


def schedule(snapshot: Snapshot, policy: Policy, now: float, memory: Memory | None = None) -> Plan:
    """One decision for each waiting job, in order: a placement, or a refusal with its reasons.

    ``now`` is in seconds since the epoch; the day (UTC) of the rules is taken from it.
    """
    memory = Memory() if memory is None else memory
    # 1. Masks: where each queue may use which chips. Kept on the board, made when first needed.
    board = Board(snapshot, policy, now, memory.atlas(snapshot, policy, now))
    ledger, line = Ledger.now(snapshot, policy, now), line_of(snapshot, policy)
    # 2. Time: what ends when, windows of maintenance, and what is kept for whom.
    timeline = Timeline(board, ledger, partial(memory.releases, snapshot.running, now))
    ahead, leaving = Ahead(timeline, memory.runs(snapshot.running)), vacate(board, now)
    cycle = Cycle(ahead, line)
    timeline.promise_windows()
    cycle.settle_claims()
    # 3. What may have changed since the last cycle: all else is refused as it was.
    groups = memory.to_look_at(line, ledger, now)
    memory.recall(ahead)
    parts = cycle.within_reach(groups)
    # 4. In order, each job takes the first way that fits: whole stretches of the queue at once
    #    where all of them fit, job by job where not. First within soft quotas, then above them.
    #    The first that do not fit are promised chips in time, or others are stopped for them.
    cycle.run(parts)
    if too := memory.to_look_at_too(line, ahead):
        cycle.run(cycle.within_reach(too))
    if ledger.limits.soft:
        ledger.limits.soft = False
        cycle.run(cycle.above_soft)
    # 5. Who has to leave an evacuated site. Idle chips: for elastic jobs that run. Then who
    #    should run elsewhere.
    gone = ahead.gone | {run for one in leaving.stops for v in one.victims for run in v.runs}
    left = evacuate(board, ledger, gone, now)
    grown = grow(board, ledger, line.row.keys(), now)
    larger = stretch(board, ledger, line, {*gone, *(p.job for p in grown)}, now)
    gone |= {run for move in larger for run in move.runs}
    moves = migrate(board, ledger, ahead.blocked, gone, now) if _may_move(snapshot, policy) else []
    # 6. What was not given is refused. Why is found when it is asked for, from what is left.
    refusals = cycle.refusals()
    if refusals:
        ahead.again = min(ahead.again, ahead.levels_change())
    memory.keep(line, cycle.stays_refused(), cycle.later, ahead)
    return Plan(
        cycle.placements(grown),
        refusals,
        (*ahead.preemptions, *leaving.stops, *left.stops),
        (*left.moves, *larger, *moves),
        tuple(ahead.reservations),
        min(ahead.again, leaving.again, left.again, settles_at(board, now)),
    )


def _may_move(snapshot: Snapshot, policy: Policy) -> bool:
    return policy.migration and snapshot.slow


def line_of(snapshot: Snapshot, policy: Policy) -> Line:
    """The snapshot's own line, or one made of its jobs."""
    waiting = snapshot.waiting
    if isinstance(waiting, Line):
        return waiting
    return Line.of(waiting, snapshot.shapes, policy.patience, policy.order)
