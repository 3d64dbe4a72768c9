"""A draft: events that belong together, folded over the world before they are committed."""

from __future__ import annotations

from skep.control.world import World
from skep.lifecycle import apply, apply_site
from skep.model.event import Event
from skep.model.state import JobState, SiteState
from skep.store.base import Store


class Draft:
    """Collects events and shows the jobs and sites as they will be. Commits all or nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.events: list[Event] = []
        self._jobs: dict[str, JobState] = {}
        self._sites: dict[str, SiteState] = {}

    def job(self, job: str) -> JobState | None:
        """The job with the draft's events applied."""
        return self._jobs.get(job) or self._world.jobs.get(job)

    def site(self, site: str) -> SiteState:
        """The site with the draft's events applied."""
        return self._sites.get(site) or self._world.sites[site]

    def add(self, *events: Event) -> None:
        """Fold events in. Raises ``ConflictError`` where the lifecycle does not allow one."""
        for event in events:
            if event.job:
                self.fold(event)
            else:
                self._sites[event.site] = apply_site(self.site(event.site), event)
                self.events.append(event)

    def fold(self, event: Event) -> JobState:
        """As ``add``, for one event of a job: the job's state after it."""
        job = self._jobs[event.job] = apply(self.job(event.job), event)
        self.events.append(event)
        return job

    def commit(self, store: Store) -> None:
        """Make it durable, then true. On ``StoreError`` or ``ConflictError`` nothing changes."""
        if not self.events:
            return
        known = self._world.jobs
        expect = {job: was.version if (was := known.get(job)) else 0 for job in self._jobs}
        logged = store.append(
            self.events, jobs=self._jobs.values(), sites=self._sites.values(), expect=expect
        )
        self._world.seq = logged[-1].seq
        for job in self._jobs.values():
            self._world.put(job)
        self._world.put_sites(self._sites.values())
