"""The scheduling function: a snapshot and a policy in, a plan out, in numbered steps.

Pure and deterministic: equal snapshots give equal plans, with a memory of the cycle before or
without. A large job at the head of the line does not hold back smaller ones that fit, until it has
waited longer than the policy's patience.
"""

from __future__ import annotations

from skep.model.policy import Policy
from skep.model.snapshot import Plan, Snapshot
from skep.scheduler.board import Board
from skep.scheduler.cycle import Cycle
from skep.scheduler.ledger import Ledger
from skep.scheduler.line import Line
from skep.scheduler.memory import Memory


def schedule(snapshot: Snapshot, policy: Policy, now: float, memory: Memory | None = None) -> Plan:
    """One decision for each waiting job, in order: a placement, or a refusal with its reasons.

    ``now`` is in seconds since the epoch; the day (UTC) of the rules is taken from it.
    """
    memory = Memory() if memory is None else memory
    # 1. Masks: where each queue may use which chips. Kept on the board, made when first needed.
    board = Board(snapshot, policy, now, memory.atlas(snapshot, policy, now))
    ledger = Ledger.now(snapshot, policy)
    line = line_of(snapshot, policy)
    # 2. What may have changed since the last cycle: all else is refused as it was.
    cycle = Cycle(board, ledger, line, now)
    parts = cycle.within_reach(memory.to_look_at(line, ledger, now))
    # 3. In order, each job takes the first way that fits: whole stretches of the queue at once
    #    where all of them fit, job by job where not. First within soft quotas, then above them.
    cycle.run(parts)
    if ledger.limits.soft:
        ledger.limits.soft = False
        cycle.run(cycle.above_soft)
    # 4. What was not given is refused. Why is found when it is asked for, from what is left.
    memory.keep(line, ledger, cycle.stays_refused(), now)
    return Plan(cycle.placements(), cycle.refusals())


def line_of(snapshot: Snapshot, policy: Policy) -> Line:
    """The snapshot's own line, or one made of its jobs."""
    waiting = snapshot.waiting
    if isinstance(waiting, Line):
        return waiting
    return Line.of(waiting, snapshot.shapes, policy.patience)
