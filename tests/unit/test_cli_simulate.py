from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from skep.cli.main import main
from skep.cli.simulate import filled

ROOT = Path(__file__).parents[2]
TRACE = ROOT / "examples/trace"
ASKED = ["simulate", "--pool", str(TRACE / "pool.yaml"), "--trace", str(TRACE / "jobs.csv")]
QUEUES = ["--policy", str(TRACE / "two-queues.yaml")]


def test_json_takes_a_file_or_prints() -> None:
    assert filled(["a.yaml", "--json"]) == ["a.yaml", "--json", "-"]
    assert filled(["--json", "a.yaml"]) == ["--json", "-", "a.yaml"]
    assert filled(["--json", "a.json", "b"]) == ["--json", "a.json", "b"]


def test_a_study_is_written_as_page_table_and_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, table, figures = (tmp_path / name for name in ("a.html", "a.csv", "a.json"))
    times = tmp_path / "times.csv"
    files = ["--report", str(page), "--csv", str(table), "--json", str(figures)]
    files += ["--timeline", str(times)]
    assert main([*ASKED, *QUEUES, *QUEUES, "--jobs", "60", *files]) == 0
    assert "mean wait" in capsys.readouterr().out
    text = page.read_text()
    assert "<svg" in text
    assert "two-queues #2" in text
    for outside in ("<script", "<link", 'src="http', "url(http"):
        assert outside not in text
    with table.open() as rows:
        lines = list(csv.DictReader(rows))
    assert len(lines) == 120
    assert {line["outcome"] for line in lines} == {"succeeded"}
    told = json.loads(figures.read_text())
    assert [p["policy"] for p in told["policies"]] == ["two-queues", "two-queues #2"]
    assert told["policies"][0]["runs"][0]["jobs"] == 60
    with times.open() as rows:
        spans = [line for line in csv.DictReader(rows) if line["policy"] == "two-queues"]
    free = [float(line["chips_free"]) for line in spans]
    fragments = [float(line["chips_in_fragments"]) for line in spans]
    over_time = told["policies"][0]["timeline"]["fragmentation"]
    assert len(over_time) == len(spans) > 100
    assert over_time[9] == pytest.approx(fragments[9] / free[9], abs=1e-3)
    mean = told["policies"][0]["summary"]["fragmentation"]["mean"]
    assert mean == pytest.approx(sum(fragments) / sum(free), rel=0.05)
    assert "Fragmentation" in text
    assert set(told["policies"][0]["timeline"]["chips_held"]) == {
        "lulea",
        "ulanqab",
        "zhongwei",
        "abilene",
    }


def test_the_same_seeds_give_the_same_files_to_the_byte(tmp_path: Path) -> None:
    asked = [*ASKED, *QUEUES, "--jobs", "80", "--seeds", "2", "--copies", "2"]
    asked += ["--scenario", str(TRACE / "conditions.yaml")]
    for name in "ab":
        files = ["--csv", str(tmp_path / f"{name}.csv"), "--json", str(tmp_path / f"{name}.json")]
        assert main([*asked, *files]) == 0
    for ending in ("csv", "json"):
        one, other = ((tmp_path / f"{name}.{ending}").read_bytes() for name in "ab")
        assert one == other
    assert b'"faults"' in (tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--every", "soon"], ["--every", "'soon'"]),
        (["--load", "0"], ["load", "0"]),
        (["--policy", "none.yaml"], ["none.yaml"]),
        (["--format", "swg"], ["format", "'swg'", "swf"]),
        (["--scenario", str(TRACE / "pool.yaml")], ["sites"]),
        (["--report", "/proc/none/a.html", *QUEUES, "--jobs", "1"], ["/proc/none"]),
    ],
)
def test_bad_options_are_told_in_one_line(
    more: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*ASKED, *more]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    for word in words:
        assert word in told[0]


def test_a_pool_without_a_trace_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ASKED[:3]) == 2
    assert "--trace" in capsys.readouterr().err


def test_a_trace_is_shown_and_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "show", str(TRACE / "jobs.swf")]) == 0
    assert "600" in capsys.readouterr().out
    out = tmp_path / "b.csv"
    assert main(["trace", "convert", str(TRACE / "jobs.swf"), str(out)]) == 0
    assert len(out.read_text().splitlines()) == 601
    assert main(["trace", "convert", str(TRACE / "jobs.swf"), str(tmp_path / "b.xls")]) == 2


def test_a_policy_that_refuses_all_is_not_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = tmp_path / "nobody.yaml"
    nobody.write_text("queues: [{name: others}, {name: few}]\n")
    page, figures = tmp_path / "a.html", tmp_path / "a.json"
    files = ["--report", str(page), "--json", str(figures)]
    for policies in (["--policy", str(nobody), *QUEUES], ["--policy", str(nobody)]):
        assert main([*ASKED, *policies, "--jobs", "40", *files]) == 0
        assert "40 refused" in capsys.readouterr().out
        told = json.loads(figures.read_text())["policies"][0]["summary"]
        assert told["jobs refused"]["mean"] == 40
        for name in ("mean wait", "goodput", "fairness over queues (Jain)"):
            assert told[name]["mean"] is None
        assert "nan" not in page.read_text()
