"""Permission rules: dated, with a jurisdiction; the first that matches decides."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest

from skep.files.policy import load_policy
from skep.model.policy import Rule
from skep.rules import Decision, Facts, decide
from skep.rules.decide import concerning, ever_allowed

HERE = Facts(queue="default", chip="h100-sxm", site="ulanqab", country="CN")
DAY = datetime.date(2026, 3, 1)


def rule(name: str, effect: str = "refuse", **more: object) -> Rule:
    return Rule(id=name, effect=effect, reason="as agreed", **more)  # type: ignore[arg-type]


def test_nothing_matches_is_allowed() -> None:
    assert decide((), HERE, DAY) == Decision("allowed")


def test_the_first_rule_that_matches_decides() -> None:
    rules = (rule("ours", "allow", queues=("default",)), rule("all"))
    assert decide(rules, HERE, DAY) == Decision("allowed", "ours", "as agreed")
    assert decide(rules[::-1], HERE, DAY).rule == "all"


@pytest.mark.parametrize(
    "field", [{"queues": ("x",)}, {"chips": ("x",)}, {"sites": ("x",)}, {"countries": ("SE",)}]
)
def test_each_field_must_match(field: dict[str, tuple[str, ...]]) -> None:
    assert decide((rule("no", **field),), HERE, DAY).allowed
    name = next(iter(field))
    ours = {"queues": "default", "chips": "h100-sxm", "sites": "ulanqab", "countries": "CN"}[name]
    assert not decide((rule("no", **{name: ("x", "SE", ours)}),), HERE, DAY).allowed


def test_an_unknown_country_matches_no_country() -> None:
    nowhere = Facts("default", "h100-sxm", "ulanqab", "")
    assert decide((rule("no", countries=("CN",)),), nowhere, DAY).allowed


@pytest.mark.parametrize(("days", "holds"), [(-1, False), (0, True), (5, True), (6, False)])
def test_since_and_until_are_both_days_on_which_it_holds(days: int, holds: bool) -> None:
    dated = rule("no", since=DAY, until=DAY + datetime.timedelta(days=5))
    assert decide((dated,), HERE, DAY + datetime.timedelta(days=days)).allowed is not holds


def test_a_licence_is_not_yet_a_permission() -> None:
    decision = decide((rule("eccn", "license"),), HERE, DAY)
    assert (decision.verdict, decision.allowed) == ("needs licence", False)
    assert str(decision) == "rule eccn: needs a licence: as agreed"
    assert str(Decision("refused", "no", "why")) == "rule no: why"


def test_what_ends_or_begins_by_itself_is_not_forever() -> None:
    day = datetime.timedelta(days=1)
    assert not ever_allowed((rule("no"),), HERE, DAY)
    assert ever_allowed((rule("no", until=DAY + 9 * day),), HERE, DAY)
    assert ever_allowed((rule("soon", "allow", since=DAY + 3 * day), rule("no")), HERE, DAY)
    assert not ever_allowed((rule("was", "allow", until=DAY - day), rule("no")), HERE, DAY)
    assert not ever_allowed((rule("no", until=datetime.date.max),), HERE, DAY)


def test_concerning_keeps_only_rules_that_can_match() -> None:
    rules = (rule("a", queues=("x",)), rule("b", chips=("h100-sxm",)), rule("c", sites=("q",)))
    assert [r.id for r in concerning(rules, "default", "h100-sxm")] == ["b", "c"]


def test_the_example_of_the_guide_is_a_policy(tmp_path: Path) -> None:
    guide = Path(__file__).parents[2] / "docs/guides/policy-file.md"
    policies = []
    for block in re.findall(r"```yaml\n(.*?)```", guide.read_text(), re.DOTALL):
        file = tmp_path / "policy.yaml"
        file.write_text(block)
        policies.append(load_policy(file))
    policy = policies[0]
    here = Facts("default", "h100-sxm", "x", "CN")
    assert decide(policy.rules, here, DAY).verdict == "needs licence"
