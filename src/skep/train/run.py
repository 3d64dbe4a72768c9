"""A training run at one site: what happens after each step of the user's optimizer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

import torch

from skep.train.checkpoint import Checkpoint
from skep.train.chip import Chip
from skep.train.data import Samples, leasable, values_of
from skep.train.exchange import Exchange
from skep.train.flat import FlatModel
from skep.train.fragments import cuts, digest_of, fragments_for, why_fragments
from skep.train.keeper import Keeper, optimizer_bytes, restore_optimizer
from skep.train.member import Member, origin_of
from skep.train.meter import Meter
from skep.train.outer import OuterState, fresh
from skep.train.parts import Local
from skep.train.progress import Progress
from skep.train.ranks import Ranks
from skep.train.replicas import Replicas
from skep.train.report import line_of, rounds_of, stats_of
from skep.train.settings import Settings
from skep.train.shelf import Want
from skep.train.supply import Supply
from skep.train.trace import Trace

T = TypeVar("T")
PROGRESS_S = 1.0
BLOCKED_S = 60.0  # with overlap=False, the longest wait for one round


class Run:
    """Returned by ``skep.train.join``; use it as a context manager."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        chosen: Settings,
        ranks: Ranks,
    ) -> None:
        self._optimizer, self._settings, self._ranks = optimizer, chosen, ranks
        self._flat = FlatModel(model)
        self._trace = Trace(chosen.trace if ranks.first else "", chosen.site)
        self._meter = Meter(trace=self._trace)
        self._progress = Progress(chosen.progress_file if ranks.first else "")
        self._keeper = Keeper(chosen.checkpoint_dir, self._tell, time.monotonic())
        self._exchange: Exchange | None = None
        count = chosen.fragments or fragments_for(self._flat.length)
        self._ranges = cuts(self._flat.length, count)
        self._replicas: Replicas | None = None
        self._chip = Chip(chosen.speed, self._flat.length)
        self._supply = Supply(self)
        self._samples = Samples(self._supply)
        self._step_tokens = 0
        self._loss: float | None = None
        self._reported = 0.0
        self._done = False
        self.round = 0
        self.participants = 1
        self.elapsed = 0.0
        self._global_tokens = 0

    # -- for the user -----------------------------------------------------------------------

    @property
    def global_tokens(self) -> int:
        """Tokens trained by all sites together; the same on all ranks of a site."""
        return self._global_tokens

    @property
    def stats(self) -> dict[str, Any]:
        """Counts and rates so far (see ``skep.train.report``); complete on rank 0 of a site."""
        return stats_of(
            self._meter, self._chip.pacer, self._exchange, self._states(), self._global_tokens
        ) | {"step_flops": self._chip.step_flops, "participants": self.participants}

    @property
    def digest(self) -> str:
        """Of the anchors last applied (rank 0 of the site)."""
        return digest_of(self._states()) if self._replicas is not None else ""

    @property
    def synchronised(self) -> torch.Tensor:
        """The anchor last applied, as one flat vector: the same at all sites of one round."""
        states = self._states()
        return torch.cat([state.anchor for state in states]) if states else torch.empty(0)

    def tokens(self, count: int) -> None:
        """This rank has trained on ``count`` tokens (or samples) since its last step."""
        self._step_tokens += int(count)

    def data(self, loader: Iterable[T]) -> Iterator[T]:
        """The batches of ``loader``, counting the values of the first tensor in each.

        A ``DataLoader`` over a data set with a length, shuffled or in order, is gone through once
        by all sites together, whoever joins or dies; anything else is this rank's own.
        """
        shared = leasable(loader) and not self._settings.alone
        for batch in self._samples.one_pass(loader) if shared else loader:  # type: ignore[arg-type]
            self._step_tokens += values_of(batch)
            yield batch

    def idle(self, seconds: float) -> None:
        """On all ranks, between steps: take part without training, for ``seconds``."""
        newest = self._exchange.states if self._exchange is not None else ()
        indices = self._ranks.broadcast_object(self._due(newest, time.monotonic()))
        if indices:
            self._apply(newest, indices)
        if self._exchange is not None:
            self._take_part(self._exchange)
            self._exchange.wait(seconds)

    def log(self, **values: Any) -> None:
        """Put ``values`` into the progress file; a lone ``loss`` goes into the next step line."""
        if "loss" in values:
            self._loss = float(values["loss"])
        if set(values) - {"loss"}:
            self._progress.write("log", **(self._line() | values))

    def finish(self) -> None:
        """One last average over all sites, bounded in time; then the model is the anchor.

        Called by the end of the ``with`` block; earlier to evaluate the common model inside it.
        """
        if self._done:
            return
        self._done = True
        self._supply.close()
        vector = self._ranks.broadcast(self._finish() if self._ranks.first else self._empty())
        if self._exchange is not None or self._ranks.world > 1:
            self._flat.write(vector)
        if self._ranks.first:
            self._checkpoint(time.monotonic())
            self._keeper.wait()
            self._progress.write("final", **(self._line() | self.stats))
        self._stop()

    # -- beginning and end ------------------------------------------------------------------

    def __enter__(self) -> Run:
        now = time.monotonic()
        if self._ranks.first:
            self._begin(now)
        self._settle()
        self._hook = self._optimizer.register_step_post_hook(self._after_step)
        self._meter.start(time.monotonic())
        self._chip.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._chip.stop()
        self._hook.remove()
        if kind is None:
            self.finish()
        else:
            self._stop()

    def _begin(self, now: float) -> None:
        chosen, vector = self._settings, self._flat.read()
        signature = f"{self._flat.signature()}/{len(self._ranges)}"
        me = Member(chosen.site, chosen.rank, chosen.run, signature)
        states = tuple(fresh(vector[slice(*own)], origin_of(me)) for own in self._ranges)
        pending: tuple[int, ...] = (0,) * len(states)
        found = self._keeper.load([stop - start for start, stop in self._ranges])
        if found is not None:
            states, pending = found.states, found.pending
            self._flat.write(found.parameters)
            self._tell(f"resumed from the checkpoint of round {rounds_of(states)}")
        self._optimizer_state = found.optimizer if found is not None else b""
        who = (chosen.site, chosen.run)
        self._replicas = Replicas(self._flat, self._ranges, states, pending, who, now)
        if found is not None and found.used:
            self._replicas.want = Want(chosen.run, found.used)
        if not chosen.alone:
            self._exchange = Exchange(chosen, states, signature, self._tell)
            self._tell(why_fragments(self._flat.length, chosen.fragments))
            self._exchange.start()
            missing = self._exchange.await_peers(now + chosen.start_wait)
            if missing is not None:
                self._tell(f"going on without {missing or 'peers'}; they may join later")
            self._adopt(self._exchange.states)

    def _settle(self) -> None:
        """All ranks of the site begin with rank 0's parameters and optimizer state."""
        if self._ranks.world > 1:
            vector = self._flat.read() if self._ranks.first else self._empty()
            self._flat.write(self._ranks.broadcast(vector))
        mine = self._optimizer_state if self._ranks.first else b""
        begun = (rounds_of(self._states()), self._count_global()) if self._ranks.first else (0, 0)
        self.round, self._global_tokens = self._ranks.broadcast_object(begun)
        complaint = restore_optimizer(self._optimizer, self._ranks.broadcast_object(mine))
        if complaint:
            self._tell(complaint)

    def _stop(self) -> None:
        self._trace.close()
        if self._exchange is not None:
            self._exchange.stop()

    # -- after each step --------------------------------------------------------------------

    def _after_step(self, *_: Any) -> None:
        if self._done:
            return
        now = time.monotonic()
        newest = self._exchange.states if self._exchange is not None else ()
        changed = self._due(newest, now)
        tokens, indices = self._agree(now, changed)
        self._meter.step(tokens, now)
        self._samples.stepped()
        if self._replicas is not None:
            self._replicas.trained(tokens)
        if indices:
            self._apply(newest, indices)
        if self._exchange is not None:
            self._take_part(self._exchange)
        self._meter.exchanged(now, time.monotonic())
        self._look_after(time.monotonic())
        self._chip.step(int(self._meter.tokens_per_step or 1) // self._ranks.world)

    def _due(self, newest: Sequence[OuterState], now: float) -> list[int]:
        """Fragments with new anchors that are to be applied now."""
        if self._replicas is None or self._exchange is None:
            return []
        return self._replicas.due(newest, now, self._exchange.patience_s)

    def _agree(self, now: float, changed: list[int]) -> tuple[int, list[int]]:
        """Site-wide tokens of this step, and the fragments with new anchors, on every rank."""
        own, self._step_tokens = self._step_tokens or 1, 0
        values = [float(own), 0.0, 0.0, 0.0, 0.0, 0.0]
        if self._ranks.first:
            sites = len(self._exchange.sites) + 1 if self._exchange is not None else 1
            marks = sum(1 << index for index in changed)
            numbers = (marks, self._count_global(), rounds_of(self._states()), sites)
            values[1:] = [*map(float, numbers), now - self._meter.began]
        tokens, bits, together, number, here, elapsed = self._ranks.summed(values)
        self.elapsed = elapsed
        self._global_tokens = int(together + tokens)
        self.round, self.participants = int(number), int(here)
        every = range(len(self._ranges))
        return int(tokens), [index for index in every if int(bits) >> index & 1]

    def _count_global(self) -> int:
        """Merged and pending tokens of all sites, as the first fragment counts them."""
        others = self._exchange.peer_reports() if self._exchange is not None else []
        if self._replicas is None:
            return 0
        own = self._replicas.states[0].tokens + self._replicas.pending[0]
        return own + sum(local.pending for local in others)

    def _apply(self, newest: Sequence[OuterState], indices: list[int]) -> None:
        if self._ranks.first and self._replicas is not None:
            self._replicas.adopt(newest, indices)
        if self._ranks.world > 1:
            for start, stop in (self._ranges[index] for index in indices):
                first = self._ranks.first
                piece = self._flat.read(start, stop) if first else torch.zeros(stop - start)
                self._flat.write(self._ranks.broadcast(piece), start)

    def _adopt(self, newest: Sequence[OuterState]) -> None:
        if self._replicas is not None:
            self._replicas.adopt(newest, self._replicas.changed(newest))

    def _take_part(self, exchange: Exchange) -> None:
        if self._replicas is not None:
            exchange.report(self._local(finishing=False), self._replicas.pending)
        self._contribute(exchange)
        if not self._settings.overlap and self._round_is_due():
            self._await_round(exchange)

    def _contribute(self, exchange: Exchange) -> None:
        replicas = self._replicas
        for index in exchange.refused():
            if replicas is not None:
                replicas.drop(index)
        for index, wanted in exchange.wanted.items():
            if replicas is None or wanted.base != replicas.states[index].digest:
                continue
            now = time.monotonic()
            part = (
                replicas.part(index, now, last=True)
                if wanted.final
                else replicas.answer(index, now)
            )
            if part is None:
                self._tell("the local parameters are not finite: back to the anchor")
                replicas.drop(index)
                continue
            self._meter.steps_since_part = 0
            exchange.contribute(index, part)

    def _round_is_due(self) -> bool:
        steps = self._settings.options.interval_steps
        since = self._meter.steps_since_part
        return since == 0 or (steps is not None and since >= steps)

    def _await_round(self, exchange: Exchange) -> None:
        """Without overlap: until the round has been applied, or nobody is there to close it."""
        replicas, deadline = self._replicas, time.monotonic() + BLOCKED_S
        while replicas is not None and exchange.sites and time.monotonic() < deadline:
            newest = exchange.states
            if changed := replicas.changed(newest):
                self._apply(newest, changed)
                return
            self._contribute(exchange)
            exchange.wait(0.02)

    def _look_after(self, now: float) -> None:
        if not self._ranks.first:
            return
        self._tell_rounds()
        if now - self._reported >= PROGRESS_S:
            self._reported = now
            rate = self._meter.rate_since_mark(now)
            self._progress.write("step", **(self._line() | {"tokens_per_s": round(rate, 1)}))
        if self._keeper.due(now):
            self._checkpoint(now)

    # -- finishing --------------------------------------------------------------------------

    def _finish(self) -> torch.Tensor:
        exchange, replicas = self._exchange, self._replicas
        if exchange is None or replicas is None:
            return self._flat.read()
        deadline = time.monotonic() + self._settings.finish_wait
        while exchange.sites and not exchange.finished and time.monotonic() < deadline:
            exchange.report(self._local(finishing=True), replicas.pending)
            self._adopt(exchange.states)
            self._contribute(exchange)
            exchange.wait(0.05)
        self._adopt(exchange.states)
        if not exchange.finished and not exchange.sites:
            now = time.monotonic()
            parts = {index: replicas.part(index, now) for index in range(len(self._ranges))}
            exchange.absorb({index: part for index, part in parts.items() if part is not None})
            self._adopt(exchange.states)
        elif not exchange.finished:
            self._tell("the others train on: leaving with the anchor of the last round")
        anchors = replicas.reset()
        self._tell_rounds()
        self.round = rounds_of(replicas.states)
        self._global_tokens = replicas.states[0].tokens
        return anchors

    # -- telling ----------------------------------------------------------------------------

    def _states(self) -> tuple[OuterState, ...]:
        return self._replicas.states if self._replicas is not None else ()

    def _empty(self) -> torch.Tensor:
        return torch.zeros(self._flat.length)

    def _local(self, finishing: bool) -> Local:
        return Local(
            rate=self._meter.rate,
            step_s=self._meter.step_s or 0.0,
            steps=self._meter.steps,
            tokens_per_step=self._meter.tokens_per_step or 0.0,
            sent=self._exchange.sent if self._exchange is not None else 0,
            finishing=finishing,
            hungry=self._supply.hungry,
        )

    def _line(self) -> dict[str, Any]:
        line = line_of(self._meter, self._exchange) | {"loss": self._loss, "round": self.round}
        together = {"participants": self.participants, "global_tokens": self._global_tokens}
        return line | together

    def _tell_rounds(self) -> None:
        for record in self._exchange.drain_rounds() if self._exchange is not None else ():
            times = record.pop("called_at"), record.pop("applied_at")
            self._progress.write("round", **record)
            self._trace.round(record["fragment"], *times, record)

    def _tell(self, text: str) -> None:
        self._progress.write("event", text=text)
        if self._settings.on_event is not None:
            self._settings.on_event(text)

    def _checkpoint(self, now: float) -> None:
        if self._replicas is not None and self._settings.checkpoint_dir:
            states, pending = self._replicas.states, self._replicas.pending
            inner = optimizer_bytes(self._optimizer)
            used = self._replicas.want.used if self._replicas.want is not None else ()
            self._keeper.save(Checkpoint(states, self._flat.read(), pending, inner, used), now)
