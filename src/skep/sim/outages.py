"""What breaks in a replay, and what that does to the runs: sites, links, blocks, nodes, chips."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skep.model.event import SiteJoined, SiteReturned
from skep.sim.task import Task
from skep.sim.wear import Broken, links

if TYPE_CHECKING:
    from skep.sim.replay import Replay


class Outages:
    """The faults that last. ``dark``: site without power -> how many faults keep it so."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self.dark: dict[str, int] = {}
        self._down: list[tuple[str, str]] = []  # links
        self._pairs = links(replay.topology)

    def begin(self, when: float, fault: Broken) -> None:
        """Something breaks at ``when``; note when it is over."""
        self._replay.record.faults[fault.kind] += 1
        if fault.kind == "site":
            name = self._replay.topology.names[fault.place]
            self._darken(when, name)
            self._replay.at(when + fault.lasts, self._lighten, name)
        elif fault.kind == "link":
            self._down.append(self._pairs[fault.place])
            self._replay.at(when + fault.lasts, self._mend_link, self._pairs[fault.place])
            self._stall_all(when)
        else:
            self._break_chips(when, fault)

    def _break_chips(self, when: float, fault: Broken) -> None:
        """Chips of a pool fail, with the runs that use them; the site offers so many fewer."""
        site = self._replay.topology.names[self._replay.topology.pool_site[fault.place]]
        what = f"{fault.kind} {fault.row} failed"
        for run, nodes in self._replay.machines.struck(fault).items():
            if (found := self._replay.live(run.split("-", 1)[0], run)) is not None:
                self._replay.over(when, *found, "failed", f"{what} at {site}", nodes)
        lost = self._replay.machines.put_out(fault)
        free = self._replay.control.world.free
        free[fault.place] -= sum(chips for _, chips in lost)
        self._replay.at(when + fault.lasts, self._mend_chips, fault.place, lost)

    def _mend_chips(self, when: float, pool: int, lost: list[tuple[int, int]]) -> None:
        del when
        self._replay.machines.mend(pool, lost)
        self._replay.control.world.free[pool] += sum(chips for _, chips in lost)

    def _darken(self, when: float, site: str) -> None:
        """A site loses its power: its runs die, and nobody hears of it until its lease is over."""
        self.dark[site] = self.dark.get(site, 0) + 1
        if self.dark[site] > 1:
            return
        self._replay.control.world.heard[site] = when
        for job in dict.fromkeys(self._replay.control.world.runs[site].values()):
            task = self._replay.tasks.get(job)
            if task is None:
                continue
            task.advance(when)
            for live in task.runs.values():
                if live.share.site == site:
                    task.forget(live, when, self._replay.conditions.exchange)
                    live.started = False
            self._replay.go_on(task, when, "lost")

    def _lighten(self, when: float, site: str) -> None:
        """Power is back: a new agent reports that the runs are gone."""
        self.dark[site] -= 1
        if self.dark[site]:
            return
        del self.dark[site]
        world, draft = self._replay.control.world, self._replay.draft
        world.heard[site] = float("inf")
        reason = "the site lost its power"
        if draft.site(site).phase == "lost":
            draft.add(SiteReturned(at=when, site=site, reason="its agent reports again"))
        agent = f"{site}-{self._replay.record.faults['site'] + 1}"
        draft.add(SiteJoined(at=when, site=site, agent=agent, reason="its agent was started again"))
        for run, job in tuple(world.runs[site].items()):
            if (found := self._replay.live(job, run)) is not None:
                self._replay.over(when, *found, "failed", reason)

    def _mend_link(self, when: float, pair: tuple[str, str]) -> None:
        self._down.remove(pair)
        self._stall_all(when)

    def _stall_all(self, when: float) -> None:
        for task in self._replay.tasks.values():
            if len(task.runs) > 1:
                task.advance(when)
                self.stall(task)
                self._replay.turn(task, when)

    def stall(self, task: Task) -> None:
        """What links that are down do to the job: see ``Conditions.exchange``."""
        if len(task.runs) < 2:
            return
        if self._replay.conditions.exchange:
            self._cut_off(task)
            return
        sites = {live.share.site for live in task.runs.values()}
        down = sum(sites.issuperset(pair) for pair in self._down)
        for live in task.runs.values():
            live.stalled = down

    def _cut_off(self, task: Task) -> None:
        """Sites to which no link leads go on alone, and exchange when one is back."""
        exchange = self._replay.conditions.exchange
        alone = self._alone({live.share.site for live in task.runs.values()})
        for live in task.runs.values():
            if live.share.site not in alone:
                live.cut = None
            elif live.cut is None and live.started:
                live.cut = task.exchanged(live, task.since, exchange)

    def _alone(self, sites: set[str]) -> set[str]:
        """Those of ``sites`` to none of the others of which a link is up."""
        top = self._replay.topology
        down = {frozenset(pair) for pair in self._down}

        def linked(one: str, other: str) -> bool:
            wide = top.bandwidth[top.row[one], top.row[other]] > 0
            return bool(wide) and frozenset((one, other)) not in down

        return {one for one in sites if not any(linked(one, o) for o in sites if o != one)}
