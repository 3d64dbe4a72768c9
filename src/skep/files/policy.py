"""Reads policy files: queues, quotas, rules."""

from __future__ import annotations

import itertools
from pathlib import Path

from skep.errors import InputError
from skep.files.problems import check, field_name, printable
from skep.files.yaml import MIB, read_mapping
from skep.model.policy import Policy

MOST_BYTES = MIB


def load_policy(path: str | Path) -> Policy:
    """The policy of the file at ``path``, checked. Raises ``InputError``."""
    path = Path(path)
    source = printable(str(path))
    policy = check(Policy, read_mapping(path, MOST_BYTES), source=source)
    _once([queue.name for queue in policy.queues], "queues", "name", source)
    _once([rule.id for rule in policy.rules], "rules", "id", source)
    _tree(policy, source)
    _rising(policy, source)
    for row, window in enumerate(policy.maintenance):
        if window.end <= window.start:
            field = field_name(("maintenance", row, "end"))
            raise InputError(
                field, str(window.end), f"allowed: after {window.start}", source=source
            )
    for row, rule in enumerate(policy.rules):
        if rule.since and rule.until and rule.until < rule.since:
            field = field_name(("rules", row, "until"))
            allowed = f"allowed: {rule.since} (since) or later"
            raise InputError(field, str(rule.until), allowed, source=source)
    return policy


def _tree(policy: Policy, source: str) -> None:
    """Each parent is a queue, and no queue is above itself."""
    parents = {queue.name: queue.parent for queue in policy.queues}
    for row, queue in enumerate(policy.queues):
        above, steps = queue.parent, 0
        while above in parents and above != queue.name and steps < len(parents):
            above, steps = parents[above], steps + 1
        if above is not None:
            others = ", ".join(n for n in parents if n != queue.name)
            allowed = f"allowed: {others or 'none'}; a queue that is not below it"
            field = field_name(("queues", row, "parent"))
            raise InputError(field, queue.parent, allowed, source=source)


def _rising(policy: Policy, source: str) -> None:
    for row, (one, more) in enumerate(itertools.pairwise(policy.levels), 1):
        if more <= one:
            allowed = f"allowed: more than {one:g}, the level before it"
            raise InputError(field_name(("levels", row)), f"{more:g}", allowed, source=source)


def _once(names: list[str], table: str, key: str, source: str) -> None:
    for row, name in enumerate(names):
        if name in names[:row]:
            allowed = f"allowed: a name that {table}[{names.index(name)}] does not have"
            raise InputError(field_name((table, row, key)), name, allowed, source=source)
