"""The shipped JSON Schemas are current and say what the reader says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from skep.errors import InputError
from skep.files import schema
from skep.files.job import job_from_mapping
from skep.files.policy import load_policy
from skep.files.pool import load_pool
from skep.files.yaml import parse_mapping

ROOT = Path(__file__).parents[2]
SCHEMAS = tuple(f"/{name}.schema.json" for name in ("job", "pool", "policy"))
EXAMPLES = sorted(
    path
    for path in (ROOT / "examples").rglob("*.yaml")
    if path.read_text().split("\n", 1)[0].endswith(SCHEMAS)
)


def validator(name: str) -> Any:
    return jsonschema.Draft202012Validator(schema.file_schemas()[name])


@pytest.mark.parametrize("name", ["job", "pool", "policy"])
def test_the_shipped_schema_is_current(name: str) -> None:
    made = schema.file_schemas()[name]
    jsonschema.Draft202012Validator.check_schema(made)
    assert schema.schema_text(name) == schema.rendered(made), "run python -m skep.files.schema"


def test_writing_gives_what_is_shipped(tmp_path: Path) -> None:
    files = schema.write_schemas(tmp_path / "new")
    assert [f.name for f in files] == [f"{n}.schema.json" for n in ("job", "pool", "policy")]
    assert files[0].read_text() == schema.schema_text("job")


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_example_fits_the_schema_that_it_names(path: Path) -> None:
    text = path.read_text()
    first = text.split("\n", 1)[0]
    assert first.startswith("# yaml-language-server: $schema=")
    target = (path.parent / first.partition("$schema=")[2]).resolve()
    assert target.parent == ROOT / "src/skep/data/schemas"
    assert target.exists()
    name = target.name.split(".")[0]
    validator(name).validate(parse_mapping(text, str(path), text_under=("env",)))


BASE = {"name": "a", "run": "b"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"chips": 6},
        {"chips": "h100-sxm"},
        {"chips": "h100-sxm:512"},
        {"chips": {"kind": "a"}},
        {"chips": [6, "a:2", {"kind": "b", "count": 3}]},
        {"chips": 3, "span": 3},
        {"chips": 3, "span": {"min": 2, "max": 3}},
        {"elastic": {"min": 2, "max": 4}},
        {"time_limit": "2h30m"},
        {"time_limit": "1-12:00:00"},
        {"time_limit": 90},
        {"env": {"A": "1"}},
        {"workdir": None},
    ],
)
def test_what_the_reader_takes_the_schema_takes(fields: dict[str, Any]) -> None:
    validator("job").validate({**BASE, **fields})
    job_from_mapping({**BASE, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"chips": 0},
        {"chips": -3},
        {"chips": 1.5},
        {"chips": True},
        {"chips": "a:0"},
        {"chips": "a:b"},
        {"chips": "a b"},
        {"chips": []},
        {"chips": [{"kind": "a", "count": 0}]},
        {"chips": {"cuont": 1}},
        {"chipz": 3},
        {"num_nodes": 3},
        {"bundle": "0" * 64},
        {"name": "a\x1bb"},
        {"name": "a b"},
        {"run": ""},
        {"span": 0},
        {"span": "all"},
        {"elastic": {"min": 2}},
        {"retries": -1},
        {"priority": 5000},
        {"per": "gpu"},
        {"on_site_loss": "die"},
        {"time_limit": "soon"},
        {"time_limit": 0},
        {"env": ["A=1"]},
        {"env": {"SKEP_RUN": "1"}},
        {"env": {"a-b": "1"}},
        {"queue": "a/b"},
    ],
)
def test_what_the_reader_refuses_the_schema_refuses(fields: dict[str, Any]) -> None:
    assert not validator("job").is_valid({**BASE, **fields})
    with pytest.raises(InputError):
        job_from_mapping({**BASE, **fields})


SITE = {"name": "a", "pools": [{"chip": "h100-sxm"}]}


@pytest.mark.parametrize(
    "pool",
    [
        {},
        {"sites": []},
        {"sites": [SITE], "color": "red"},
        {"sites": [{**SITE, "power": {"cap": "10 V"}}]},
        {"sites": [{**SITE, "power": {}}]},
        {"sites": [{**SITE, "place": {"latitude": 91, "longitude": 0, "country": "SE"}}]},
        {"sites": [{**SITE, "place": {"latitude": 1, "longitude": 0, "country": "Sweden"}}]},
        {"sites": [SITE], "links": [{"between": ["a"], "bandwidth": 1}]},
        {"sites": [SITE], "links": [{"between": ["a", "b"], "bandwidth": "fast"}]},
        {"sites": [SITE], "lease": {"duration": 0}},
    ],
)
def test_wrong_pools_do_not_fit(pool: dict[str, Any], tmp_path: Path) -> None:
    import json

    assert not validator("pool").is_valid(pool)
    (tmp_path / "pool.yaml").write_text(json.dumps(pool))
    with pytest.raises(InputError):
        load_pool(tmp_path / "pool.yaml")


@pytest.mark.parametrize(
    "policy",
    [
        {"queues": [{"name": "a", "max_chips": -1}]},
        {"rules": [{"id": "a", "effect": "forbid", "reason": "b"}]},
        {"gang_hold": 0},
        {"power_margin": 1},
        {"quotas": []},
    ],
)
def test_wrong_policies_do_not_fit(policy: dict[str, Any], tmp_path: Path) -> None:
    import json

    assert not validator("policy").is_valid(policy)
    (tmp_path / "policy.yaml").write_text(json.dumps(policy))
    with pytest.raises(InputError):
        load_policy(tmp_path / "policy.yaml")


def test_every_field_of_the_examples_pool_is_read() -> None:
    pool = load_pool(ROOT / "examples/pool.yaml")
    assert [(s.name, s.chips) for s in pool.sites] == [
        ("ulanqab", 2),
        ("lulea", 1),
        ("sweetwater", 1),
    ]
    assert pool.shape_links
    assert {(link.bandwidth, link.rtt) for link in pool.links} == {(1e8, 0.02)}
    assert len(pool.links) == 3
    assert (pool.lease.duration, pool.lease.grace, pool.lease.heartbeat) == (10.0, 3.0, 1.0)
