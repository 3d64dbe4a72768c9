"""Decides by permission rules: the first rule that matches decides, default is allowed.

Rules are dated data with a jurisdiction; a rule's empty field matches everything. A site whose
country is unknown ("") matches no rule that names countries.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from skep.model.policy import Rule

Verdict = Literal["allowed", "refused", "needs licence"]

_VERDICTS: dict[str, Verdict] = {
    "allow": "allowed",
    "refuse": "refused",
    "license": "needs licence",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rule looks at: chips of ``chip`` for ``queue`` at ``site`` in ``country``."""

    queue: str
    chip: str
    site: str
    country: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules say; ``rule`` is the id of the rule that decided, "" where none matched."""

    verdict: Verdict
    rule: str = ""
    reason: str = ""

    @property
    def allowed(self) -> bool:
        return self.verdict == "allowed"

    def __str__(self) -> str:
        """One line: ``rule no-export: needs a licence: …``."""
        if not self.rule:
            return self.verdict
        licence = "needs a licence: " if self.verdict == "needs licence" else ""
        return f"rule {self.rule}: {licence}{self.reason}"


DEFAULT = Decision("allowed")


def decide(rules: Iterable[Rule], facts: Facts, date: datetime.date) -> Decision:
    """What the first rule that matches ``facts`` on ``date`` (UTC) says; allowed where none does.

    ``since`` and ``until`` of a rule both count as days on which it holds.
    """
    for rule in rules:
        if _holds(rule, date) and _matches(rule, facts):
            return Decision(_VERDICTS[rule.effect], rule.id, rule.reason)
    return DEFAULT


def ever_allowed(rules: tuple[Rule, ...], facts: Facts, date: datetime.date) -> bool:
    """Whether the rules as they are allow it on ``date`` or on any later day."""
    return any(decide(rules, facts, day).allowed for day in (date, *_turns(rules, date)))


def concerning(rules: Iterable[Rule], queue: str, chip: str) -> tuple[Rule, ...]:
    """The rules that can match this queue and chip kind at some site on some day, in order."""
    return tuple(
        r for r in rules if queue in (r.queues or (queue,)) and chip in (r.chips or (chip,))
    )


def _holds(rule: Rule, date: datetime.date) -> bool:
    return (rule.since is None or rule.since <= date) and (rule.until is None or date <= rule.until)


def _matches(rule: Rule, facts: Facts) -> bool:
    return (
        (not rule.queues or facts.queue in rule.queues)
        and (not rule.chips or facts.chip in rule.chips)
        and (not rule.sites or facts.site in rule.sites)
        and (not rule.countries or facts.country in rule.countries)
    )


def _turns(rules: Iterable[Rule], date: datetime.date) -> Iterable[datetime.date]:
    """Days after ``date`` on which some rule begins, or has just ended."""
    for rule in rules:
        if rule.since is not None and rule.since > date:
            yield rule.since
        if rule.until is not None and date <= rule.until < datetime.date.max:
            yield rule.until + datetime.timedelta(days=1)
