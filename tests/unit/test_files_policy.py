"""Policy files: the tree of queues, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from skep.errors import InputError
from skep.files.policy import load_policy
from skep.model.policy import Quota


def test_queues_form_a_tree_and_classes_have_numbers(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        "queues:\n"
        "  - {name: lab, weight: 3}\n"
        "  - {name: ada, parent: lab, quotas: [{chip: b200, site: oslo, max: 8, soft: true}]}\n"
        "classes: {gold: 50}\n"
        "maintenance: [{site: oslo, start: 2026-01-01T08:00Z, end: 2026-01-01T10:00Z}]\n"
    )
    policy = load_policy(file)
    assert policy.queues[1].parent == "lab"
    assert policy.queues[1].quotas == (Quota(chip="b200", site="oslo", max=8, soft=True),)
    assert policy.priority_of("gold") == 50
    assert policy.priority_of(7) == 7


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "queues: [{name: a, parent: b}, {name: b, parent: a}]",
            "queues[0].parent: got 'b'; allowed: b; a queue that is not below it",
        ),
        (
            "queues: [{name: a, parent: c}]",
            "queues[0].parent: got 'c'; allowed: none; a queue that is not below it",
        ),
        (
            "queues: [{name: a, weight: 0}]",
            "queues[0].weight: got 0; allowed: a number above 0",
        ),
        (
            "maintenance: [{site: a, start: 2026-01-02T00:00Z, end: 2026-01-01T00:00Z}]",
            "maintenance[0].end: got '2026-01-01 00:00:00+00:00'; "
            "allowed: after 2026-01-02 00:00:00+00:00",
        ),
        (
            "maintenance: [{site: a, start: soon, end: later}]",
            "maintenance[0].start: got 'soon'; allowed: a time such as '2026-01-31T08:00Z' "
            "(and 1 more problem)",
        ),
        ("order: size", "order: got 'size'; allowed: 'age', 'shortest' or 'attained'"),
        (
            "levels: [16, 4]",
            "levels[1]: got '4'; allowed: more than 16, the level before it",
        ),
        ("levels: [0]", "levels[0]: got 0; allowed: a number above 0"),
        ("backfill: all", "backfill: got 'all'; allowed: 'easy', 'conservative' or 'none'"),
    ],
)
def test_refusals(text: str, line: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_policy(file)
    assert str(caught.value) == f"{file}: {line}"
