"""What a site knows of the others for one fragment, and where it stands among them. Pure queries.

Each site is in exactly one of these positions: behind (it fetches the state of a peer), leading (it
is the first in its turn among those who are up to date), following, or alone. All positions are
derived from what is known now, so that there is nothing to undo when a site dies.
"""

from __future__ import annotations

from skep.train.member import Member
from skep.train.outer import Key, OuterState, ahead
from skep.train.parts import Local, View

TRIO = 3  # members that an epoch keeps when fewer are connected


class Standing:
    """Views of the peers against this site's own state."""

    def __init__(self, me: Member, state: OuterState, index: int) -> None:
        self.me, self.state, self.index = me, state, index
        self.local = Local()
        self.views: dict[str, View] = {}
        self.begun = state.round > 0  # any fragment of the model has had a round
        self.ended: set[str] = set()  # seats of those who left on purpose
        self._fetching = ""
        self._announced = ""  # the digest that the leader of the last round told

    @property
    def key(self) -> Key:
        sound = self._announced in ("", self.state.digest)
        begun = self.begun or self.state.round > 0
        return self.state.key._replace(begun=int(begun), sound=int(sound))

    @property
    def told_as(self) -> str:
        """Changes with whatever a peer must be told again."""
        return f"{self.state.digest}/{self.state.origin}/{self.key.begun}/{self.key.sound}"

    def addresses(self) -> dict[str, str]:
        """Where the connected peers may be dialled."""
        members = (view.member for view in self.views.values())
        return {member.site: member.listen for member in members if member.listen}

    def behind(self) -> bool:
        """Whether a connected peer holds a state that this site must adopt."""
        keys = [view.key for view in self.views.values() if view.key is not None]
        return bool(self._fetching) or any(self._beyond(key) for key in keys)

    def _beyond(self, key: Key) -> bool:
        """Whether this site must adopt the state with ``key``.

        Where two differ in nothing but their digest, either a bit has flipped somewhere: the fewer
        mend themselves, and if they are as many, those that differ from the leader of the round.
        Or they are of two histories, each as its leader told: then the larger digest stays.
        """
        own = self.key
        if key[:3] != own[:3] or key.begun != own.begun:
            return ahead(key, own)
        known = [view.key.digest for view in self.views.values() if view.key is not None]
        mine, theirs = known.count(own.digest) + 1, known.count(key.digest)
        if own.digest == key.digest or theirs != mine:
            return own.digest != key.digest and theirs > mine
        histories = own.sound and key.sound and key.digest > own.digest
        return key.digest == self._announced or bool(histories)

    def level(self) -> bool:
        """Whether all connected peers are known to hold the same state as this site."""
        return all(self._holds(view) for view in self.views.values())

    def _holds(self, view: View) -> bool:
        key = view.key
        return key is not None and (key.digest, key.origin) == (
            self.state.digest,
            self.state.origin,
        )

    def _in_turn(self) -> list[str]:
        """This site and its peers in order of rank, beginning with another one per fragment."""
        members = [self.me, *(view.member for view in self.views.values())]
        members.sort(key=lambda member: member.order)
        turn = self.index % len(members)
        return [member.site for member in members[turn:] + members[:turn]]

    def _first(self) -> bool:
        if self.behind():
            return False
        level = {site for site, view in self.views.items() if self._holds(view)}
        level.add(self.me.site)
        return next(site for site in self._in_turn() if site in level) == self.me.site

    def _all_finishing(self) -> bool:
        return self.local.finishing and all(v.local.finishing for v in self.views.values())

    def seats(self) -> list[str]:
        """The seats of all connected sites and this one, in order."""
        members = [self.me, *(view.member for view in self.views.values())]
        members.sort(key=lambda member: member.order)
        return list(dict.fromkeys(member.seat_name for member in members))

    def epoch(self) -> list[str]:
        """The members of the next epoch: those who are connected, or the last three.

        Three do not become two because one is away: any two of three may then go on, whoever of
        them comes back first. Were it the two, they would have to wait for one of them in
        particular (hybrid voting: Jajodia and Mutchler, ACM TODS 15(2), 1990).
        """
        seats, members = self.seats(), self.state.members
        stays = len(seats) < len(members) == TRIO and set(seats) <= set(members)
        return [seat for seat in members if seat not in self.ended] if stays else seats

    def missing(self) -> list[str]:
        """Empty where the anchor may move; else the absent members of an epoch without majority.

        More than half of the epoch's members must be connected, or half of them with the first: of
        two groups that are cut from each other one goes on at most. Who left on purpose is no
        member any more.
        """
        members = [seat for seat in self.state.members if seat not in self.ended]
        here = self.seats()
        absent = [seat for seat in members if seat not in here]
        tied = 2 * len(absent) == len(members)
        if 2 * len(absent) < len(members) or not members or (tied and members[0] in here):
            return []
        return absent
