"""The scheduling function: a snapshot and a policy in, a plan out, in numbered steps.

Pure and deterministic: equal snapshots give equal plans. A large job at the head of the line does
not hold back smaller ones that fit: there are no reservations yet; they would be taken from the
ledger between steps 2 and 3, as a job's chips are in step 5.
"""

from __future__ import annotations

from dataclasses import replace

from skep.model.policy import Policy
from skep.model.snapshot import Placement, Plan, Refusal, Shape, Snapshot, Waiting
from skep.scheduler.ask import Ask, asks_of
from skep.scheduler.board import Board
from skep.scheduler.clique import Choice
from skep.scheduler.explain import explain
from skep.scheduler.gate import quota_left, turned_away
from skep.scheduler.ledger import Ledger
from skep.scheduler.order import ordered
from skep.scheduler.place import placement, take
from skep.scheduler.room import room
from skep.scheduler.score import scores
from skep.scheduler.search import choose


def schedule(snapshot: Snapshot, policy: Policy, now: float) -> Plan:
    """One decision for each waiting job, in order: a placement, or a refusal with its reasons.

    ``now`` is in seconds since the epoch; the day (UTC) of the rules is taken from it.
    """
    # 1. Masks: where each queue may use which chips. Kept on the board, made when first needed.
    board, ledger = Board(snapshot, policy, now), Ledger.now(snapshot, policy)
    placements: list[Placement] = []
    refusals: list[Refusal] = []
    refused: dict[object, Refusal] = {}
    # 2. Order: priority, age, id.
    for job in ordered(snapshot.waiting):
        shape, key = snapshot.shapes[job.shape], (job.shape, job.repair)
        away = turned_away(job, shape, board, now)
        # What was refused in this cycle stays refused in it: the ledger only falls.
        if refusal := away or refused.get(key):
            refusals.append(_same(refusal, job))
            continue
        # 3. The first alternative that fits, with as many chips as it may have.
        found = _first_fit(board, ledger, job, shape)
        if found:
            # 4. Place: shares in nodes and blocks.  5. Take them from the working copy.
            placements.append(placement(board, job, *found))
            take(board, ledger, *found)
        else:
            # 6. Explain: each site's reason, and what would let it run.
            refused[key] = explain(board, ledger, job, shape)
            refusals.append(refused[key])
    return Plan(tuple(placements), tuple(refusals))


def _first_fit(
    board: Board, ledger: Ledger, job: Waiting, shape: Shape
) -> tuple[Ask, Choice] | None:
    left = quota_left(board, ledger, shape.queue)
    for ask in asks_of(job, shape, board, ledger):
        if ask.least <= left:
            within = ask if ask.most <= left else replace(ask, most=int(left))
            if choice := _choice(board, ledger, within, job):
                return ask, choice
    return None


def _choice(board: Board, ledger: Ledger, ask: Ask, job: Waiting) -> Choice | None:
    """The best sites for ``ask``; those that the job avoids only where nothing else fits."""
    columns, rooms = board.columns(ask.kind), room(board, ledger, ask)
    score = scores(columns, ledger, ask.least / ask.sites_max)
    avoid = job.avoid | job.repair.avoid if job.repair else job.avoid
    if avoid and (choice := choose(columns, rooms * ~columns.at(board, avoid), ask, score)):
        return choice
    return choose(columns, rooms, ask, score)


def _same(refusal: Refusal, job: Waiting) -> Refusal:
    return Refusal(
        job.job, job.version, refusal.reason, refusal.sites, refusal.remedy, refusal.never
    )
