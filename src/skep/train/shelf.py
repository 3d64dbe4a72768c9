"""Which samples are handed out, to whom, and which are done: leases in the shared state. Pure.

Samples have positions: those of the first pass over the data, then those of the second, and so on.
A site trains on positions that are leased to it and says with each contribution which they were
(``used``); once the contribution is merged they are done. So a sample is in the model if and only
if its position is below ``cursor`` and neither leased nor given back, and it is there once: the
shelf travels with the anchor and moves with it, whatever becomes of sites and leaders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Ranges = tuple[tuple[int, int], ...]  # [start, stop) in order, neither touching nor overlapping

SILENT = 100  # rounds without a contribution, after which a lease is given back
SILENT_AT_END = 20  # the same where nothing else is left


def tidy(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same positions in order, without gaps of nothing."""
    found: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        elif start < stop:
            found.append((start, stop))
    return tuple(found)


def size(ranges: Ranges) -> int:
    """How many positions."""
    return sum(stop - start for start, stop in ranges)


def minus(ranges: Ranges, taken: Ranges) -> Ranges:
    """Positions of ``ranges`` that are not in ``taken``."""
    left = list(ranges)
    for begin, end in taken:
        pieces = []
        for start, stop in left:
            pieces += [(start, min(stop, begin)), (max(start, end), stop)]
        left = [(start, stop) for start, stop in pieces if start < stop]
    return tidy(left)


def first(ranges: Ranges, count: int) -> Ranges:
    """The first ``count`` positions, fewer where there are not so many."""
    found = []
    for start, stop in ranges:
        if count <= 0:
            break
        found.append((start, min(stop, start + count)))
        count -= found[-1][1] - start
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Lease:
    """Positions that a site may train on; ``round`` is that of its last contribution."""

    run: str
    ranges: Ranges = ()
    round: int = 0


@dataclass(frozen=True, slots=True)
class Want:
    """What a contribution says about samples: those in it, and how many the site wants to hold.

    ``total``: positions there are, as far as this site's passes over the data go.
    """

    run: str
    used: Ranges = ()
    ahead: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Shelf:
    """The positions of all samples: done, leased, given back, and those from ``cursor`` on."""

    total: int = 0
    cursor: int = 0
    back: Ranges = ()
    leases: Mapping[str, Lease] = field(default_factory=dict)

    def leased(self, site: str) -> Ranges:
        """What ``site`` may train on (some of it may be trained and not merged yet)."""
        return self.leases[site].ranges if site in self.leases else ()

    @property
    def done(self) -> int:
        """Samples that are in the model."""
        out = sum(size(lease.ranges) for lease in self.leases.values())
        return self.cursor - size(self.back) - out

    def over(self, upto: int) -> bool:
        """Whether all positions below ``upto`` are done."""
        held = [self.back, *(lease.ranges for lease in self.leases.values())]
        return self.cursor >= upto and not any(r and r[0][0] < upto for r in held)

    def handed_out(self, upto: int) -> bool:
        """Whether all positions below ``upto`` are leased or done."""
        return self.cursor >= upto and not any(start < upto for start, _ in self.back)

    def fields(self) -> dict[str, Any]:
        leases = {s: [lease.run, list(lease.ranges), lease.round] for s, lease in self.held()}
        return {
            "total": self.total,
            "cursor": self.cursor,
            "back": list(self.back),
            "leases": leases,
        }

    def held(self) -> list[tuple[str, Lease]]:
        return sorted(self.leases.items())


def shelf_from(fields: Mapping[str, Any] | None) -> Shelf | None:
    """Raises ``ValueError``, ``KeyError`` or ``TypeError`` when it is no shelf."""
    if fields is None:
        return None
    leases = {
        str(site): Lease(str(run), ranges_from(ranges), int(number))
        for site, (run, ranges, number) in dict(fields["leases"]).items()
    }
    return Shelf(int(fields["total"]), int(fields["cursor"]), ranges_from(fields["back"]), leases)


def ranges_from(pairs: Iterable[Iterable[int]]) -> Ranges:
    """Raises ``ValueError`` or ``TypeError`` when these are not ranges."""
    return tidy((int(start), int(stop)) for start, stop in pairs)


def allowed(shelf: Shelf | None, site: str, want: Want) -> bool:
    """Whether all samples in a contribution of ``site`` are its own to train on."""
    return not minus(want.used, shelf.leased(site) if shelf is not None else ())


def settle(shelf: Shelf | None, wants: Mapping[str, Want], number: int) -> Shelf | None:
    """The shelf after round ``number``, in which ``wants`` of these sites were merged.

    None as long as no site wants samples.
    """
    if shelf is None and not any(want.ahead for want in wants.values()):
        return None
    old = shelf or Shelf()
    total = max([old.total, *(want.total for want in wants.values())])
    leases, back = _merged(old, wants, number)
    left = total - old.cursor + size(back)
    silent = SILENT if left else SILENT_AT_END
    for site, lease in list(leases.items()):
        if number - lease.round > silent:
            back = tidy((*back, *lease.ranges))
            del leases[site]
    return _handed(Shelf(total, old.cursor, back, leases), wants)


def _merged(old: Shelf, wants: Mapping[str, Want], number: int) -> tuple[dict[str, Lease], Ranges]:
    """Used positions are done; what an earlier run of a site held and did not use comes back."""
    leases, back = dict(old.leases), old.back
    for site, want in wants.items():
        held = leases.get(site, Lease(want.run))
        ranges = minus(held.ranges, want.used)
        if held.run != want.run or not want.ahead:  # who wants none holds none
            ranges, back = (), tidy((*back, *ranges))
        leases[site] = Lease(want.run, ranges, number)
    return leases, back


def _handed(shelf: Shelf, wants: Mapping[str, Want]) -> Shelf:
    """Fill up the leases of those who want, with a fair share of a quarter of what is left at most.

    Fair is by what each wants, which is by its speed: towards the end of a pass leases get short,
    and nobody has long to wait for another.
    """
    cursor, back, leases = shelf.cursor, shelf.back, dict(shelf.leases)
    wanting = sorted(site for site, want in wants.items() if want.ahead)
    left = shelf.total - cursor + size(back)
    wishes = sum(wants[site].ahead for site in wanting)
    for site in wanting:
        lease, want = leases[site], wants[site]
        fair = -(-left * want.ahead // (4 * wishes))
        count = max(min(want.ahead - size(lease.ranges), fair), 0)
        given = first(back, count)
        back = minus(back, given)
        fresh = max(min(count - size(given), shelf.total - cursor), 0)
        ranges = tidy((*lease.ranges, *given, (cursor, cursor + fresh)))
        cursor += fresh
        leases[site] = Lease(lease.run, ranges, lease.round)
    return Shelf(shelf.total, cursor, back, leases)
