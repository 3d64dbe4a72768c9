"""Job files: short forms, what they become, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.errors import InputError
from skep.files.job import JOB_FIELDS, job_from_mapping, job_mapping, load_job
from skep.files.load import load_any
from skep.model.job import ChipRequest, Elastic, Job, Span, Worth

BASE = "name: a\nrun: b\n"


def job(text: str) -> Job:
    return job_from_mapping(job_mapping(BASE + text, "job.yaml"), "job.yaml")


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        job(text)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_name_and_a_command_are_enough() -> None:
    assert job("") == Job(name="a", run="b")


@pytest.mark.parametrize(
    ("written", "chips"),
    [
        ("6", (ChipRequest(count=6),)),
        ("h100-sxm", (ChipRequest(kind="h100-sxm", count=1),)),
        ("h100-sxm:512", (ChipRequest(kind="h100-sxm", count=512),)),
        ("' h100-sxm : 512 '", (ChipRequest(kind="h100-sxm", count=512),)),
        ("{kind: h100-sxm, count: 512}", (ChipRequest(kind="h100-sxm", count=512),)),
        ("{kind: h100-sxm}", (ChipRequest(kind="h100-sxm", count=1),)),
        ("{count: 3}", (ChipRequest(count=3),)),
        (
            "{as_good_as: h100-sxm:4, kinds: [b200]}",
            (ChipRequest(count=4, as_good_as=Worth(kind="h100-sxm", count=4), kinds=("b200",)),),
        ),
        (
            "[a:2, 3, {kind: b, count: 4}]",
            (
                ChipRequest(kind="a", count=2),
                ChipRequest(count=3),
                ChipRequest(kind="b", count=4),
            ),
        ),
    ],
)
def test_forms_of_chips(written: str, chips: tuple[ChipRequest, ...]) -> None:
    assert job(f"chips: {written}").chips == chips


@pytest.mark.parametrize(
    ("written", "span"),
    [
        ("3", Span(min=3, max=3)),
        ("{min: 2, max: 3}", Span(min=2, max=3)),
        ("{min: 2}", Span(min=2)),
        ("{max: 3}", Span(min=1, max=3)),
    ],
)
def test_forms_of_span(written: str, span: Span) -> None:
    assert job(f"chips: 8\nspan: {written}").span == span


def test_an_elastic_job_without_a_count_asks_for_the_most() -> None:
    assert job("elastic: {min: 2, max: 4}").chips == (ChipRequest(count=4),)
    got = job("elastic: {min: 2, max: 4}\nchips: [h100-sxm, b200:3]")
    assert got.chips == (ChipRequest(kind="h100-sxm", count=4), ChipRequest(kind="b200", count=3))
    assert got.elastic == Elastic(min=2, max=4)


def test_env_keeps_the_text_as_written() -> None:
    assert job("env: {A: 007, B: true, C: 1.10, D: x}").env == {
        "A": "007",
        "B": "true",
        "C": "1.10",
        "D": "x",
    }


def test_a_command_may_have_several_lines_and_a_field_may_be_empty() -> None:
    got = job("setup: |\n  one\n  two\nworkdir:\nspan:\nchips:\n")
    assert got.setup == "one\ntwo\n"
    assert got == Job(name="a", run="b", setup="one\ntwo\n")


@pytest.mark.parametrize(("written", "seconds"), [("2h", 7200), ("90", 90), ("1-12:00:00", 129600)])
def test_time_limits(written: str, seconds: float) -> None:
    assert job(f"time_limit: {written}").time_limit == seconds


def test_a_relative_workdir_is_relative_to_the_job_file(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "job.yaml").write_text(BASE + "workdir: ./code/../code")
    assert load_job(tmp_path / "job.yaml").workdir == str(tmp_path / "code")
    (tmp_path / "job.yaml").write_text(BASE + f"workdir: {tmp_path}")
    assert load_any(tmp_path / "job.yaml").job.workdir == str(tmp_path)
    assert load_any(tmp_path / "job.yaml").notes == ()


def test_a_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "job.yaml").write_text(BASE + "workdir: ~/")
    assert load_job(tmp_path / "job.yaml").workdir == str(tmp_path)


COUNTS = "allowed: a whole number of 1 or more"
FORMS = (
    "allowed: a whole number of 1 or more, a chip kind such as 'h100-sxm', 'kind:count', "
    "{kind: …, count: …}, {as_good_as: 'h100-sxm:512'}, or a list of these"
)
FIELDS = ", ".join(JOB_FIELDS)
NAMES = "allowed: 1 to 64 letters, digits and . _ - (a letter or digit first and last)"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("chips: 0", f"chips: got 0; {COUNTS}"),
        ("chips: -3", f"chips: got -3; {COUNTS}"),
        ("chips: {count: -3}", f"chips.count: got -3; {COUNTS}"),
        ("chips: {kind: a, count: two}", f"chips.count: got 'two'; {COUNTS}"),
        ("chips: a:0", f"chips: got 0; {COUNTS}"),
        ("chips: a:-1", f"chips: got -1; {COUNTS}"),
        ("chips: a:b", f"chips: got 'a:b'; {FORMS}"),
        ("chips: true", f"chips: got True; {FORMS}"),
        ("chips: 1.5", f"chips: got 1.5; {FORMS}"),
        ("chips: [1, [2]]", f"chips[1]: got [2]; {FORMS}"),
        ("chips: [1, {count: 0}]", f"chips[1].count: got 0; {COUNTS}"),
        ("chips: [1, a:0]", f"chips[1]: got 0; {COUNTS}"),
        ("chips: a b:1", f"chips: got 'a b'; {NAMES}"),
        (
            "chips: []",
            "chips: got []; allowed: a list of 1 or more, each a mapping with "
            "kind, count, as_good_as or kinds",
        ),
        ("span: 0", f"span: got 0; {COUNTS}"),
        ("span: {min: 0}", f"span.min: got 0; {COUNTS}"),
        ("span: all", "span: got 'all'; allowed: a mapping with min or max"),
        (
            "span: {min: 3, max: 2}",
            "span: got {'min': 3, 'max': 2}; allowed: max of 3 (min) or more",
        ),
        (
            "chips: 2\nspan: 3",
            "span: got 3; allowed: at most 2, as each site takes one chip or more",
        ),
        (
            "chips: [4, a:2]\nspan: {min: 3}",
            "span.min: got 3; allowed: at most 2, as each site takes one chip or more",
        ),
        (
            "elastic: {min: 4, max: 2}",
            "elastic: got {'min': 4, 'max': 2}; allowed: max of 4 (min) or more",
        ),
        ("elastic: {min: 2}", f"elastic.max: got nothing; {COUNTS} (required)"),
        ("elastic: 3", "elastic: got 3; allowed: a mapping with min or max"),
        (
            "elastic: {min: 2, max: 4}\nchips: 6",
            "chips: got 6; allowed: 2 to 4, the range of elastic",
        ),
        (
            "elastic: {min: 2, max: 4}\nchips: [a:2, {kind: b, count: 1}]",
            "chips[1].count: got 1; allowed: 2 to 4, the range of elastic",
        ),
        ("retries: -1", "retries: got -1; allowed: a whole number from 0 to 10,000"),
        ("retries: 3.5", "retries: got 3.5; allowed: a whole number from 0 to 10,000"),
        (
            "priority: 1001",
            "priority: got 1001; "
            "allowed: a whole number from -1,000 to 1,000, or the name of a class",
        ),
        (
            "chips: {as_good_as: 3}",
            "chips.as_good_as: got 3; allowed: a kind and a count such as 'h100-sxm:512'",
        ),
        ("within: rack", "within: got 'rack'; allowed: 'block' or 'site'"),
        ("spread: 0", "spread: got 0; allowed: a whole number of 1 or more"),
        ("on_site_loss: die", "on_site_loss: got 'die'; allowed: 'replace', 'wait' or 'fail'"),
        ("per: gpu", "per: got 'gpu'; allowed: 'chip', 'node' or 'site'"),
        (
            "time_limit: soon",
            "time_limit: got 'soon'; allowed: a duration such as '90s', '2h30m' or '1-12:00:00'",
        ),
        ("time_limit: 0", "time_limit: got 0; allowed: a number above 0 or text such as '2h30m'"),
        ("setup: [a]", "setup: got ['a']; allowed: text"),
        ("env: A=1", "env: got 'A=1'; allowed: a mapping of names to text"),
        (
            "env: {a-b: 1}",
            "env: got 'a-b'; allowed: names of letters, digits and _ (a letter or _ first)",
        ),
        (
            "env: {SKEP_RUN: x}",
            "env: got 'SKEP_RUN'; "
            "allowed: names that do not begin with SKEP_ (skep sets those itself)",
        ),
        ("queue: a/b", f"queue: got 'a/b'; {NAMES}"),
        (
            "chipz: 3",
            f"chipz: got 3; no such field (did you mean 'chips'?); allowed: {FIELDS}",
        ),
        ("zzz: 3", f"zzz: got 3; no such field; allowed: {FIELDS}"),
        ("bundle: abc", f"bundle: got 'abc'; no such field; allowed: {FIELDS}"),
        (
            "chips: {kind: a, cuont: 3}",
            "chips.cuont: got 3; no such field (did you mean 'count'?); "
            "allowed: kind, count, as_good_as, kinds",
        ),
    ],
)
def test_refusals(text: str, line: str) -> None:
    assert refusal(text) == f"job.yaml: {line}"


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("num_nodes: 4", "span"),
        ("accelerators: H100:8", "chips"),
        ("resources: {cpus: 4}", "chips"),
        ("envs: {}", "env"),
        ("commands: [a]", "run"),
        ("command: [a]", "run"),
        ("image: python", "setup"),
        ("nodes: 2", "span"),
        ("gres: gpu:8", "chips"),
        ("entrypoint: a", "run"),
        ("spec: {}", "top"),
        ("max_duration: 1h", "time_limit"),
    ],
)
def test_words_of_other_tools_are_answered_with_ours(word: str, ours: str) -> None:
    said = refusal(word)
    hint = said.split("no such field (")[1].split(");")[0]
    assert ours in hint
    assert said.endswith(f"allowed: {FIELDS}")


def test_what_is_missing_is_told() -> None:
    with pytest.raises(InputError) as caught:
        job_from_mapping({"name": "a"}, "job.yaml")
    assert str(caught.value) == "job.yaml: run: got nothing; allowed: text, not empty (required)"


def test_json_from_the_network_takes_the_same_way() -> None:
    got = job_from_mapping({"name": "a", "run": "b", "chips": "c:2", "workdir": "/not/here"})
    assert got.workdir == "/not/here"
    with pytest.raises(InputError, match=r"^chips: got -1; allowed"):
        job_from_mapping({"name": "a", "run": "b", "chips": -1})


def test_what_is_trained_by_name_or_as_changes_of_a_named_model(tmp_path: Path) -> None:
    named = job("model: llama-3-70b").model
    assert named is not None
    assert (named.layers, named.dtype) == (80, "bf16")
    changed = job("model: {base: llama-3-70b, dtype: fp8, seq_len: 8192}").model
    assert changed == named.model_copy(update={"dtype": "fp8", "seq_len": 8192})
    (tmp_path / "mine.yaml").write_text("base: llama-3-70b\nlayers: 4\n")
    (tmp_path / "job.yaml").write_text(BASE + "model: mine.yaml\n")
    read = load_job(tmp_path / "job.yaml").model
    assert read is not None
    assert (read.name, read.layers) == ("mine", 4)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("llama-9", "job.yaml: model: got 'llama-9'"),
        ("{base: llama-3-8b, dtype: int2}", "job.yaml: model.dtype: got 'int2'; allowed"),
        ("{layers: 3}", "job.yaml: model.hidden"),
        ("7", "job.yaml: model: got 7; allowed: the name of a model"),
    ],
)
def test_a_model_that_cannot_be_is_refused(written: str, said: str) -> None:
    assert said in refusal(f"model: {written}")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None)  # the list of models is read once
@given(st.dictionaries(st.sampled_from([*JOB_FIELDS, "nodes", "x"]), VALUES))
def test_anything_is_a_job_or_one_line_with_field_and_allowed(data: dict[str, object]) -> None:
    said = "allowed"
    try:
        job_from_mapping(data, "job.yaml")  # type: ignore[arg-type]
    except InputError as error:
        said = str(error)
    assert "allowed" in said
    assert "\n" not in said
