"""A training run at one site: what happens after each step of the user's optimizer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

import torch

from skep.train.between import Between
from skep.train.checkpoint import Checkpoint
from skep.train.chip import Chip
from skep.train.clipping import Clip, Looked
from skep.train.data import Samples, leasable, values_of
from skep.train.ending import Ending
from skep.train.exchange import Exchange
from skep.train.fragments import cuts, digest_of, fragments_for, why_fragments
from skep.train.journal import Journal
from skep.train.keeper import Keeper, restore_optimizer
from skep.train.member import Member, origin_of
from skep.train.meter import Meter
from skep.train.outer import OuterState, fresh
from skep.train.parts import Local
from skep.train.ranks import Ranks
from skep.train.replicas import SNAPSHOT_STEPS, Replicas
from skep.train.report import line_of, local_of, rounds_of, seen_of, stats_of
from skep.train.resume import Resume, folder_of
from skep.train.settings import Settings, for_rail
from skep.train.shards import shards_of
from skep.train.shelf import Want
from skep.train.stride import Stride
from skep.train.supply import Supply
from skep.train.word import Word

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
        self._optimizer, self._ranks = optimizer, ranks
        self._shards = shards = shards_of(model, ranks, chosen.sharded)
        self._alone, self._expected = chosen.alone, set(chosen.peers)
        self._stride = Stride(model.parameters(), optimizer, chosen)
        self._clip = Clip(model.parameters(), ranks, chosen)
        chosen = self._stride.settings
        chosen = for_rail(chosen, shards.rail, ranks.broadcast_object(chosen.run))
        self._settings, self._flat = chosen, shards.own
        self._journal = Journal(chosen, ranks.first)
        self._tell = self._journal.event
        self._meter = Meter(trace=self._journal.trace)
        self._base = chosen.checkpoint_dir
        own = folder_of(self._base, shards.rail, shards.rails) if shards.speaks else ""
        self._keeper = Keeper(own, self._tell, time.monotonic())
        self._exchange: Exchange | None = None
        count = chosen.fragments or fragments_for(self._flat.length)
        self._ranges = cuts(self._flat.length, count)
        self._replicas: Replicas | None = None
        self._optimizer_state, self._resumed = b"", False
        self._chip = Chip(chosen.speed, shards.length)
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
        traffic = self._between.traffic()
        return stats_of(
            self._meter,
            self._chip.pacer,
            self._exchange,
            traffic,
            self._states(),
            self._global_tokens,
            self._journal.tally,
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
        shared = leasable(loader) and not self._alone
        for batch in self._samples.one_pass(loader) if shared else loader:  # type: ignore[arg-type]
            self._step_tokens += values_of(batch)
            yield batch

    def clip_grad_norm_(self, max_norm: float) -> torch.Tensor:
        """Clip the gradients of the model, in place, as they would be on the batches of all sites.

        To be called on all ranks, where ``torch.nn.utils.clip_grad_norm_`` would be, with the
        ``max_norm`` of data parallelism over all sites. Returns the norm of this site's gradient as
        torch does (0-D; of sharded gradients a ``DTensor``; with ``sharded=True`` over the
        parameters of all ranks). That is longer than the norm of the average of all, by up to the
        root of their number, as it has the noise of one batch in it; what the average's is follows
        from the steps before (formula: ``skep.train.clipping``). Alone it is torch's function.
        """
        return self._clip.clip(max_norm)

    def idle(self, seconds: float) -> None:
        """On all ranks, between steps: take part without training, for ``seconds``."""
        now = time.monotonic()
        self._turn(0.0, now, trained=False)
        self._take_part(now)
        if self._exchange is not None:
            self._exchange.wait(seconds)

    def log(self, **values: Any) -> None:
        """Put ``values`` into the progress file; a lone ``loss`` goes into the next step line."""
        if "loss" in values:
            self._loss = float(values["loss"])
        if set(values) - {"loss"}:
            self._journal.log(self._line() | values)

    def evaluated(self, value: float) -> None:
        """An evaluation gave ``value``: for the log of ``mllog`` and the progress file."""
        self._journal.mllog.evaluated(float(value), self._global_tokens)
        self._journal.log(self._line() | {"evaluated": float(value)})

    def finish(self) -> None:
        """One last average over all sites, bounded in time; then the model is the anchor.

        Called by the end of the ``with`` block; earlier to evaluate the common model inside it.
        """
        if self._done:
            return
        self._done = True
        self._supply.close()
        if self._exchange is not None and self._replicas is not None:
            self._flat.write(self._finish(self._exchange, self._replicas))
        self._shards.spread(self._ranks)
        told = self._ranks.broadcast_object((self.round, self._global_tokens))
        self.round, self._global_tokens = told
        if self._shards.speaks:
            self._checkpoint(time.monotonic())
            self._keeper.wait()
        self._journal.final(self._line() | self.stats)
        self._stop()

    # -- beginning and end ------------------------------------------------------------------

    def __enter__(self) -> Run:
        lengths = [stop - start for start, stop in self._ranges]
        found = Resume(self._base, self._ranks, self._shards, self._tell).find(lengths)
        if self._shards.speaks:
            self._begin(time.monotonic(), found)
        self._connect()
        self._settle()
        self._hook = self._optimizer.register_step_post_hook(self._after_step)
        self._meter.start(time.monotonic())
        self._chip.start()
        self._journal.mllog.begin()
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
            self._stop(failed=True)

    def _begin(self, now: float, found: Checkpoint | None) -> None:
        """On the ranks that exchange: initial states, those of the checkpoint if there is one."""
        chosen, vector, shards = self._settings, self._flat.read(), self._shards
        signature = f"{shards.signature}/{len(self._ranges)}"
        me = Member(chosen.site, chosen.rank, chosen.run, signature)
        states = tuple(fresh(vector[slice(*own)], origin_of(me)) for own in self._ranges)
        pending: tuple[int, ...] = (0,) * len(states)
        if found is not None:
            states, pending = found.states, found.pending
            self._flat.write(found.parameters)
            self._optimizer_state = found.optimizer
            self._resumed = True
            self._tell(f"resumed from the checkpoint of round {rounds_of(states)}")
        who = (chosen.site, chosen.run)
        how = (pending, who, now, SNAPSHOT_STEPS if chosen.overlap else 0)
        self._replicas = Replicas(self._flat, self._ranges, states, *how)
        if found is not None and found.used:
            self._replicas.want = Want(chosen.run, found.used)
        if not self._alone:
            rail = (shards.rail, shards.rails)
            self._exchange = Exchange(chosen, states, signature, self._tell, rail)
            if self._ranks.first:
                self._tell(why_fragments(self._flat.length, chosen.fragments))
            self._exchange.start()

    def _connect(self) -> None:
        """On all ranks: wait for the other sites, and take over where they are."""
        how = (self._ranks, self._shards, self._exchange, self._replicas, self._tell)
        self._between = Between(*how)
        self._between.started = self._expected if self._resumed else set()
        missing, wait = None, self._settings.start_wait
        if not self._alone:
            missing = self._between.connect(self._expected, wait, time.monotonic)
        if missing is not None and self._ranks.first:
            self._tell(f"going on without {missing or 'peers'}; they may join later")
        if self._exchange is not None:
            self._adopt(self._exchange.states)

    def _settle(self) -> None:
        """Copies begin with the same parameters and optimizer state, all ranks with one count."""
        self._shards.spread(self._ranks)
        begun = (rounds_of(self._states()), self._count_global())
        self.round, self._global_tokens = self._ranks.broadcast_object(begun)
        inner = self._ranks.broadcast_object(self._optimizer_state, self._shards.twins)
        complaint = restore_optimizer(self._optimizer, inner)
        if complaint:
            self._tell(complaint)

    def _stop(self, failed: bool = False) -> None:
        self._journal.close(self._global_tokens, failed)
        if self._exchange is not None:
            self._exchange.stop()

    # -- after each step --------------------------------------------------------------------

    def _after_step(self, *_: Any) -> None:
        if self._done:
            return
        self._stride.stepped()
        now = time.monotonic()
        self._samples.stepped()
        own, self._step_tokens = self._step_tokens or 1, 0
        word = self._turn(float(own), now, trained=True)
        self._meter.step(int(word.tokens), now)
        self._take_part(time.monotonic())
        if not self._settings.overlap:
            self._await_round()
        self._meter.exchanged(now, time.monotonic())
        self._look_after(time.monotonic(), word)
        self._chip.step(int(self._meter.tokens_per_step or 1) // self._ranks.world)

    def _turn(self, tokens: float, now: float, trained: bool) -> Word:
        """On all ranks: what they agree on, with new anchors applied."""
        looked, norm = self._clip.told()
        mine = Word(tokens=tokens, save=float(self._keeper.due(now)), **looked._asdict())
        if self._ranks.first:
            exchange, overlap = self._exchange, self._settings.overlap
            patience = exchange.patience_s if exchange is not None else 0.0
            mine = mine._replace(
                together=float(self._count_global()),
                round=float(rounds_of(self._states())),
                sites=float(len(exchange.sites) + 1 if exchange is not None else 1),
                times=exchange.times if exchange is not None else 1.0,
                norm=norm,
                elapsed=now - self._meter.began,
                patience=patience if overlap else BLOCKED_S,  # a round is then applied whole
            )
        word = self._between.turn(mine, trained, now)
        self.elapsed, self._stride.times = word.elapsed, word.times
        looked = Looked(word.product, word.square, word.before)
        self._clip.learn(looked, word.norm, word.times)
        self._global_tokens = int(word.together + word.tokens)
        self.round, self.participants = int(word.round), int(word.sites)
        return word

    def _take_part(self, now: float) -> None:
        if self._between.take_part(self._local(finishing=False), now):
            self._meter.steps_since_part = 0

    def _count_global(self) -> int:
        """Merged and pending tokens of all sites, as the first fragment counts them."""
        others = self._exchange.peer_reports() if self._exchange is not None else []
        if self._replicas is None:
            return 0
        own = self._replicas.states[0].tokens + self._replicas.pending[0]
        return own + sum(local.pending for local in others)

    def _adopt(self, newest: Sequence[OuterState]) -> None:
        if self._replicas is not None:
            self._replicas.adopt(newest, self._replicas.changed(newest))

    def _await_round(self) -> None:
        """Without overlap: until the round has been applied, or nobody is there to close it."""
        steps, since = self._settings.options.interval_steps, self._meter.steps_since_part
        due = since == 0 or (steps is not None and since >= steps)
        if self._exchange is None:
            due = False
        if not self._ranks.summed([float(due)])[0]:
            return
        began = self.elapsed
        while self.participants > 1 and self.elapsed - began < BLOCKED_S:
            now = time.monotonic()
            self._turn(0.0, now, trained=False)
            if self._between.applied:
                return  # the next call is answered after the next step
            self._take_part(now)
            if self._exchange is not None:
                self._exchange.wait(0.02)

    def _look_after(self, now: float, word: Word) -> None:
        if word.save and word.save >= word.speaking:
            self._checkpoint(now)
        if not self._ranks.first:
            return
        self._tell_rounds()
        if now - self._reported >= PROGRESS_S:
            self._reported = now
            rate = self._meter.rate_since_mark(now)
            seen = seen_of(self._exchange, self._journal.tally)
            self._journal.step(self._line() | {"tokens_per_s": round(rate, 1)}, seen)

    # -- finishing --------------------------------------------------------------------------

    def _finish(self, exchange: Exchange, replicas: Replicas) -> torch.Tensor:
        ending = Ending(time.monotonic(), self._settings.finish_wait)
        while exchange.sites and not exchange.finished and not exchange.over(ending):
            exchange.report(self._local(finishing=True), replicas.pending)
            self._adopt(exchange.states)
            self._between.contribute(exchange.wanted, time.monotonic())
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

    def _local(self, finishing: bool) -> Local:
        return local_of(self._meter, self._between.traffic()[0], finishing, self._supply.hungry)

    def _line(self) -> dict[str, Any]:
        line = line_of(self._meter, self._between.traffic()) | {
            "loss": self._loss,
            "round": self.round,
        }
        together = {"participants": self.participants, "global_tokens": self._global_tokens}
        return line | together

    def _tell_rounds(self) -> None:
        self._journal.rounds(self._exchange.drain_rounds() if self._exchange is not None else ())

    def _checkpoint(self, now: float) -> None:
        if self._replicas is not None and self._base:
            states, pending = self._replicas.states, self._replicas.pending
            used = self._replicas.want.used if self._replicas.want is not None else ()
            stamp = f"{self._settings.run}/{self._meter.steps}"
            parameters, places = self._flat.read(), self._shards.places
            made = Checkpoint(states, parameters, pending, b"", used, stamp, places)
            self._keeper.save(made, self._optimizer, now, time.monotonic)
