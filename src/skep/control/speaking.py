"""Which of a site's agents speaks for it, where reports of former ones are still on their way.

A new agent takes over from the one before. A report of a former agent that comes late, also the
first that is heard of it, looks like that of a new one; the agent that it pushes out is heard again
as soon as it shows that it has an answer from after that moment, which nothing late can have, and
as long as the other has not shown the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from skep.model.message import Report

REMEMBERED = 16
"""So many of a site's former agents are remembered."""


@dataclass(slots=True)
class Speaker:
    """Who speaks for a site: its last report's ``number``, and the revision ``since`` when it does.

    ``proven``: it has an answer of a later revision, so that it is there, and nothing late.
    """

    agent: str
    number: int
    since: int
    proven: bool = False


class Speakers:
    """The speakers of all sites, in memory: after a start whoever comes first speaks."""

    def __init__(self) -> None:
        self._now: dict[str, Speaker] = {}
        self._former: dict[str, dict[str, int]] = {}  # site -> agent -> revision when it ceased

    def counts(self, site: str, report: Report, revision: int) -> bool:
        """Whether a report tells what is: not overtaken by a later one, nor by a new agent.

        ``revision``: that of the site's last answer; what knows more was not answered by us.
        """
        now = self._now.get(site)
        if now is None:
            return True
        if now.agent == report.agent:
            return report.number >= now.number
        ceased = self._former.get(site, {}).get(report.agent)
        return ceased is None or (ceased < report.known <= revision and not now.proven)

    def took(self, site: str, report: Report, revision: int) -> bool:
        """Note a report that counted. True where it took over from another agent: what is answered
        then needs a higher ``revision``, by which the two can be told apart."""
        now = self._now.get(site)
        if now is not None and now.agent == report.agent:
            now.number, now.proven = report.number, now.proven or report.known > now.since
            return False
        former = self._former.setdefault(site, {})
        again = former.pop(report.agent, None) is not None
        self._now[site] = Speaker(report.agent, report.number, revision, proven=again)
        if now is None:
            return False
        former[now.agent] = revision
        for agent in tuple(former)[:-REMEMBERED]:
            del former[agent]
        return True
