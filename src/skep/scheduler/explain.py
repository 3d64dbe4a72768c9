"""Explain: why a job was refused, site by site, and in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial

from skep.model.snapshot import Refusal, Shape, Waiting
from skep.scheduler.ask import Ask, asks_of
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger
from skep.scheduler.outlook import Outlook, outlook
from skep.scheduler.reasons import site_reasons
from skep.scheduler.remedy import remedy


class Explained:
    """Why jobs that are decided alike are refused: in one line, the rest where it is asked for."""

    def __init__(
        self,
        reason: str,
        sites: Callable[[], Mapping[str, tuple[str, ...]]] = dict,
        remedy: Callable[[], str] = str,
        *,
        never: bool = False,
    ) -> None:
        self.reason, self.never = reason, never
        self._sites, self._remedy = sites, remedy

    @classmethod
    def of(cls, refusal: Refusal) -> Explained:
        """What is known whole."""
        sites, remedy = refusal.sites, refusal.remedy
        return cls(refusal.reason, lambda: sites, lambda: remedy, never=refusal.never)

    @cached_property
    def sites(self) -> Mapping[str, tuple[str, ...]]:
        """Reason -> sites, as ``Refusal.sites``."""
        return self._sites()

    @cached_property
    def remedy(self) -> str:
        """As ``Refusal.remedy``."""
        return self._remedy()

    def promised(self, what: str) -> Explained:
        """The same of a job that was promised ``what``."""
        return Explained(self.reason, self._sites, lambda: f"is promised its chips: {what}")

    def refusal(self, job: Waiting) -> Refusal:
        """The refusal of ``job``."""
        return Refusal(job.job, job.version, self.reason, self.sites, self.remedy, self.never)


def explain(board: Board, ledger: Ledger, job: Waiting, shape: Shape) -> Explained:
    """Why ``job``, which does not fit now, is refused."""
    asks = asks_of(job, shape, board, ledger)
    if refusal := _over_quota(ledger, job, asks):
        return Explained.of(refusal)
    views = [outlook(board, ledger, ask) for ask in asks]
    never = not any(view.ever for view in views)
    return Explained(
        _summary(board, views, never),
        partial(site_reasons, board, ledger, asks),
        partial(remedy, board, ledger, views),
        never=never,
    )


def wanted(ask: Ask) -> str:
    """What is asked for: ``6 cpu-core over 2 to 3 sites``."""
    chips = str(ask.least) if ask.least == ask.most else f"{ask.least} to {ask.most}"
    if ask.worth:
        chips = f"as good as {chips} {ask.worth} of"
    nodes = " in whole nodes" if ask.whole_nodes else ""
    return f"{chips} {kinds(ask)}{nodes} {_where(ask)}"


def kinds(ask: Ask) -> str:
    """``a or b`` where kinds may be mixed."""
    return ask.kind.replace("+", " and ")


def _where(ask: Ask) -> str:
    if ask.in_block:
        return "in one block"
    if ask.sites_max == 1:
        return "at one site"
    if ask.sites_min == ask.sites_max:
        return f"over {ask.sites_min} sites"
    return f"over {ask.sites_min} to {ask.sites_max} sites"


def _summary(board: Board, views: list[Outlook], never: bool) -> str:
    parts = []
    for view in views:
        if not set(view.ask.kind.split("+")) & set(board.kinds):
            parts.append(f"{wanted(view.ask)}: no site has this kind")
        elif never:
            parts.append(f"{wanted(view.ask)}: the whole pool, all free, gives {view.most_ever}")
        elif not view.most_now and int(view.now.sum()) >= view.ask.least:
            parts.append(f"{wanted(view.ask)}: no such sites with links between them were found")
        else:
            parts.append(f"{wanted(view.ask)}: {view.most_now} could be had now")
    return "needs " + "; or ".join(parts)


def _over_quota(ledger: Ledger, job: Waiting, asks: tuple[Ask, ...]) -> Refusal | None:
    """Where a quota alone refuses every way: the one that leaves the most."""
    limits = [ledger.limits.tightest(ask.queue, ask.kind) for ask in asks]
    pairs = [(limit, ask) for limit, ask in zip(limits, asks, strict=True) if limit is not None]
    if len(pairs) < len(asks) or any(limit.left >= ask.least for limit, ask in pairs):
        return None
    limit, ask = min(pairs, key=lambda pair: pair[1].least - pair[0].left)
    what = f"{limit.kind} chips" if limit.kind else "chips"
    held = f"queue {limit.queue} holds {limit.used} of {limit.most} {what}"
    reason = f"{held}, {ask.least} more are asked"
    if ask.least > limit.most:
        fix = f"ask for {limit.most} chips or fewer: the {limit}"
        return Refusal(job.job, job.version, reason, {}, fix, never=True)
    over = limit.used + ask.least - limit.most
    chips = "1 chip" if over == 1 else f"{over} chips"
    fix = f"starts when queue {limit.queue} holds {chips} fewer"
    return Refusal(job.job, job.version, reason, {}, fix)
