"""Where the samples of a site come from: its lease in the newest state, waited for where it is used
up. The seam between ``data`` and ``run``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from skep.train.ending import LEAST_S
from skep.train.shelf import Ranges, Want, first, minus, size, tidy

if TYPE_CHECKING:
    from skep.train.run import Run

LOOK_S = 0.05


class Supply:
    """The ``Port`` of a run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.rank, self.world = run._ranks.rank, run._ranks.world
        self._taken: Ranges = ()  # handed to the loader, not trained yet
        self.hungry = False
        self.closed = False
        self._waiting_since: float | None = None

    def take(self, count: int, upto: int) -> Ranges:
        found = first(self._even(upto), count - count % self.world)
        self._taken = tidy((*self._taken, *found))
        return found

    def put_back(self) -> None:
        self._taken = ()

    def _even(self, upto: int) -> Ranges:
        """Of the free positions as many as all ranks can train on in step.

        The very last ones of a pass, fewer than ranks, nobody can: they count as trained.
        """
        free, replicas = self._free(upto), self._run._replicas
        count = size(free) - size(free) % self.world
        if count or not free or replicas is None or replicas.want is None:
            return first(free, count)
        shelf, want = replicas.states[0].shelf, replicas.want
        if shelf is not None and shelf.handed_out(upto):
            replicas.want = Want(want.run, tidy((*want.used, *free)), want.ahead, want.total)
            self._run._tell(f"{size(free)} samples of this pass are left out: fewer than ranks")
        return ()

    def _free(self, upto: int) -> Ranges:
        """Leased positions below ``upto`` that are neither trained nor with the loader."""
        replicas = self._run._replicas
        if replicas is None or replicas.states[0].shelf is None:
            return ()
        leased = replicas.states[0].shelf.leased(self._run._settings.site)
        used = replicas.want.used if replicas.want is not None else ()
        beyond = ((upto, max([upto, *(stop for _, stop in leased)])),)
        return minus(minus(minus(leased, used), self._taken), beyond)

    def mark(self, used: Ranges, ahead: int, total: int) -> None:
        replicas = self._run._replicas
        if replicas is None or self.closed:
            return
        self._taken = minus(self._taken, used)
        before = replicas.want.used if replicas.want is not None else ()
        replicas.want = Want(self._run._settings.run, tidy((*before, *used)), ahead, total)

    def close(self) -> None:
        """The training has ended: what is leased and not trained goes to others."""
        replicas = self._run._replicas
        self.closed, self.hungry, self._taken = True, False, ()
        if replicas is not None and replicas.want is not None:
            want = replicas.want
            replicas.want = Want(want.run, want.used, 0, want.total)

    def rate(self) -> float:
        step_s = self._run._meter.step_s
        return 1.0 / step_s if step_s else 0.0

    def share(self, value: Any) -> Any:
        return self._run._ranks.broadcast_object(value)

    def await_samples(self, upto: int) -> bool:
        """All ranks wait together, and apply what comes meanwhile."""
        self._waiting_since = None
        while True:
            word = self.share(self._look(upto) if self.rank == 0 else None)
            if word != "wait":
                self.hungry = False
                return bool(word == "go")
            self._run.idle(LOOK_S)

    def _look(self, upto: int) -> str:
        replicas = self._run._replicas
        shelf = replicas.states[0].shelf if replicas is not None else None
        if self._even(upto):
            return "go"
        if shelf is not None and shelf.over(upto):
            return "end"
        self.hungry = True
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        exchange = self._run._exchange
        patience = self._run._settings.finish_wait or LEAST_S
        deserted = exchange is None or not exchange.sites
        if deserted and now - self._waiting_since > patience:
            self._run._tell("nobody is left to hand out samples: this pass ends here")
            return "end"
        return "wait"
