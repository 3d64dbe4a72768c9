"""``skep plan`` as a user types it: what it prints, and one clear line for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skep.cli.main import main
from skep.data import catalogue

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "examples/models"
POOL = str(ROOT / "examples/pool.yaml")
ON = ["--on", "64xh100-sxm"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_pool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing was learnt yet."""
    monkeypatch.setenv("SKEP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SKEP_SERVER", raising=False)


def told(capture: Capture, *words: str) -> str:
    assert main(["plan", *words]) == 0, capture.readouterr().err
    return capture.readouterr().out


def data(capture: Capture, *words: str):  # type: ignore[no-untyped-def]
    return json.loads(told(capture, *words, "--json"))


def test_a_training(capsys: Capture) -> None:
    text = told(capsys, "llama-3-8b", *ON, "--price", "0.06", "--place", "ulanqab")
    for word in ("layout", "step", "memory", "failures", "energy", "WHERE THE TIME GOES", "t CO2"):
        assert word in text
    found = data(capsys, "llama-3-8b", *ON)
    assert found["step_low_s"] < found["step_s"] < found["step_high_s"]
    assert sum(found["parts_s"].values()) == pytest.approx(found["step_s"], rel=1e-6)
    assert sum(found["memory_bytes"].values()) == pytest.approx(found["memory_total_bytes"])
    assert found["memory_total_bytes"] <= found["memory_limit_bytes"]
    assert found["status"] == "calibrated"
    assert found["bill"]["electricity_usd"] is None  # nobody said a price
    shape = found["layout"]
    assert shape["tp"] * shape["pp"] * shape["dp"] * shape["cp"] == 64


@pytest.mark.parametrize("model", ["my-moe.yaml", "hf/config.json", "llama-3-70b-long.yaml"])
def test_the_examples(capsys: Capture, model: str) -> None:
    found = data(capsys, str(MODELS / model), "--on", "512xh200-sxm")
    assert found["tokens_per_s"] > 0


def test_more_chips_of_a_better_kind_are_never_slower(capsys: Capture) -> None:
    def rate(fleet: str) -> float:
        return float(data(capsys, "llama-3-70b", "--on", fleet)["tokens_per_s"])

    assert rate("256xh100-sxm") < rate("512xh100-sxm")
    assert rate("256xascend-910b2") < rate("256xh100-sxm") < rate("256xb200-sxm")


def test_chips_that_cannot_share_the_batch_get_one_near_it(capsys: Capture) -> None:
    text = told(capsys, "llama-3-8b", "--on", "1000xh100-sxm")
    assert "a batch of 1,000 sequences, which 1,000 chips can share, not 1,024" in text


def test_over_sites(capsys: Capture) -> None:
    words = ["llama-3-8b", "--on", "256xh100-sxm", "--sites", "4", "--link"]
    slow = data(capsys, *words, "1 Gbit/s")
    fast = data(capsys, *words, "1 Tbit/s")
    assert slow["tokens_per_s"] < fast["tokens_per_s"]
    assert slow["exchange"]["utilisation"] < 0.95 < fast["exchange"]["utilisation"]
    assert "is enough for 95 %" in told(capsys, *words, "1 Gbit/s")


def test_a_chip_that_was_never_measured(capsys: Capture) -> None:
    text = told(capsys, "llama-3-8b", "--on", "64xascend-950dt")
    assert "never measured" in text
    assert "not published power of the system" in text
    assert "guessed" in text


def test_a_format_that_the_chip_lacks_is_told(capsys: Capture) -> None:
    text = told(capsys, "llama-3-8b", "--on", "64xascend-910c", "--dtype", "fp8")
    assert "products in 16 bits: ascend-910c has no fp8" in text


def test_a_part_of_the_layout_can_be_fixed(capsys: Capture) -> None:
    found = data(capsys, "llama-3-8b", *ON, "--layout", "tp=4,pp=2", "--layout", "zero=1")
    assert [found["layout"][name] for name in ("tp", "pp", "zero")] == [4, 2, 1]


def test_serving(capsys: Capture) -> None:
    found = data(capsys, "deepseek-r1", "--on", "cloudmatrix-384", "--serve", "--tpot", "50ms")
    assert found["tokens_per_s_low"] < found["tokens_per_s"] < found["tokens_per_s_high"]
    assert found["chosen"]["tpot_s"] < 0.05
    assert found["decode"]
    assert "PHASES" in told(capsys, "llama-3-8b", "--on", "8xh100-sxm", "--serve")


def test_a_match(capsys: Capture) -> None:
    words = ["llama-3-8b", "--match", "16xgb200-nvl72", "--with", "ascend-910c,ascend-910b2"]
    found = data(capsys, *words)
    first, second = found["alternatives"]
    assert 16 < first["chips"] < second["chips"]
    assert first["chips_low"] < first["chips"] < first["chips_high"]
    assert first["times"]["facility_power"] > 1
    points = found["sweep"]["ascend-910c"]
    assert points[-1]["chips"] > 990_000
    assert points[-1]["one_job"] < points[-1]["many_sites"] < points[-1]["whole"]
    assert points[-1]["spares"] > points[0]["spares"] > 0
    assert first["times"]["floor"] > 1
    assert first["times"]["price"] > 0
    text = told(capsys, *words)
    assert f"{first['chips']} (×" in text
    assert "floor" in text
    both = data(capsys, "llama-3-8b", "--match", "16xgb200-nvl72", "--with", "ascend-910c+h20")
    assert [s["chip"] for s in both["alternatives"][0]["sides"]] == ["ascend-910c", "h20"]


def test_two_kinds_together(capsys: Capture, tmp_path: Path) -> None:
    words = ["llama-3-8b", "--on", "256xh100-sxm+512xascend-910b2"]
    found = data(capsys, *words)
    assert [part["chip"] for part in found["parts"]] == ["h100-sxm", "ascend-910b2"]
    assert found["tokens_per_s_low"] < found["tokens_per_s"] < found["tokens_per_s_high"]
    assert sum(part["sequences"] for part in found["parts"]) == found["global_batch"]
    alone = data(capsys, "llama-3-8b", "--on", "256xh100-sxm")["tokens_per_s"]
    assert alone < found["tokens_per_s"]
    slow = data(capsys, *words, "--link", "100 Mbit/s")
    assert slow["tokens_per_s"] < found["tokens_per_s"]
    assert "shared by speed" in told(capsys, *words, "--plot", str(tmp_path / "mix.svg"))
    assert (tmp_path / "mix.svg").stat().st_size > 3000


@pytest.mark.parametrize(
    "words",
    [
        ["chips"],
        ["systems"],
        ["chips", "ascend-910c"],
        ["plan", "llama-3-8b", *ON],
        ["plan", "llama-3-8b", "--on", "64xh100-sxm+64xh20"],
        ["plan", "llama-3-8b", "--match", "16xgb200-nvl72", "--with", "ascend-910c,h20,mi300x+h20"],
    ],
    ids=" ".join,
)
def test_what_is_printed_can_be_read_at_80_columns(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    if words in (["chips"], ["systems"]):  # a line for each, none broken
        known = catalogue.chips() if words == ["chips"] else catalogue.systems()
        starts = [line.split(" ")[0] for line in lines if line]
        assert set(known) <= set(starts)


def test_stages_can_be_asked_to_be_uneven(capsys: Capture) -> None:
    only = ["--layout", "pp=4,virtual=1,uneven=1"]
    assert "uneven stages" in told(capsys, "llama-3-8b", *ON, *only)


SITES = """
sites:
  - {name: a, pools: [{chip: h100-sxm, nodes: 32, chips_per_node: 8}],
     power: {cap: 200 kW, pue: 1.1, supply: {grid: {price: 40, carbon: 20}}}}
  - {name: b, pools: [{chip: ascend-910b2, nodes: 32, chips_per_node: 8}]}
  - {name: c, pools: [{chip: h20, nodes: 4, chips_per_node: 8}]}
links:
  - {between: [a, b], bandwidth: 100 Gbit/s, rtt: 20ms}
  - {between: [a, c], bandwidth: 1 Mbit/s, rtt: 20ms}
  - {between: [b, c], bandwidth: 1 Mbit/s, rtt: 20ms}
"""


def test_the_sites_of_a_pool_file(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(SITES)
    found = data(capsys, "llama-3-8b", "--pool", str(file))
    assert [part["site"] for part in found["parts"]] == ["a", "b"]
    assert found["left_out"][0]["site"] == "c"
    assert found["parts"][0]["chips"] == 128  # of 256: 142 are below the cap
    assert found["link_bit_s"] == 100e9
    assert found["parts"][0]["bill"]["electricity_usd"] > 0
    beside = data(capsys, "llama-3-8b", "--pool", str(file), "--match", "16xgb200-nvl72")
    times = beside["times"]
    assert times["tokens_per_s_low"] < times["tokens_per_s"] < times["tokens_per_s_high"]
    assert times["chips"] == (128 + 256) / 16
    text = told(capsys, "llama-3-8b", "--pool", str(file), "--match", "16xgb200-nvl72")
    assert "at one site does" in text
    assert "left out: c h20 (32): over 0.001 Gbit/s the whole would be" in text
    assert "(the knee)" in text


def test_a_slow_link_between_the_kinds_takes_more_chips(capsys: Capture) -> None:
    words = ["llama-3-8b", "--match", "16xgb200-nvl72", "--with", "ascend-910c+h20", "--link"]
    fast, slow = (data(capsys, *words, rate) for rate in ("1 Tbit/s", "100 Mbit/s"))
    assert fast["target"] == slow["target"]  # it is one site
    assert slow["alternatives"][0]["chips"] > fast["alternatives"][0]["chips"]


def test_matching_a_system_with_itself_takes_as_many(capsys: Capture) -> None:
    found = data(capsys, "llama-3-8b", "--match", "64xh100-sxm", "--with", "h100-sxm")
    assert found["alternatives"][0]["chips"] == pytest.approx(64, rel=0.2)


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_pictures(capsys: Capture, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"plan.{ending}"
    told(capsys, "llama-3-8b", *ON, "--plot", str(file))
    assert file.stat().st_size > 5000
    match = ["--match", "8xgb200-nvl72", "--with", "ascend-910c"]
    told(capsys, "llama-3-8b", *match, "--plot", str(file))
    told(capsys, "llama-3-8b", *ON, "--serve", "--plot", str(file))


def test_calibrate(capsys: Capture, tmp_path: Path) -> None:
    runs = str(MODELS / "runs-910b.csv")
    assert "of a run that was left out" in told(capsys, "calibrate", runs)
    printed = told(capsys, "calibrate", runs, "--json")
    found = json.loads(printed)
    before, after = (sum(abs(r - 1) for r in found[name]) for name in ("before", "after"))
    assert after <= before
    file = tmp_path / "c.json"
    file.write_text(printed)
    plain = data(capsys, "qwen2.5-7b", "--on", "64xascend-910b2")
    moved = data(capsys, "qwen2.5-7b", "--on", "64xascend-910b2", "--calibration", str(file))
    assert plain["step_s"] != moved["step_s"]


BAD = [
    (["llama-3-8b"], "--on: got None; allowed: one of --on CHIPS, --pool FILE"),
    (["llama-3-8b", *ON, "--match", "8xh20"], "one of --on"),
    (["llama-3-8b", "--match", "8xh20"], "--with: got None"),
    (["llama-3-8b", *ON, "--with", "h20"], "--with: got 'h20'; allowed: only together"),
    (["llama-3-8b", "--on", "64xh100"], "did you mean 'h100-sxm'?"),
    (["llama-3-8b", "--on", "-8xh100-sxm"], "--on: got '-8xh100-sxm'; allowed: 1 to"),
    (["llama-3-8b", "--on", "h100-sxm"], "allowed: COUNTxKIND"),
    (["lama-3-8b", *ON], "did you mean 'llama-3-8b'?"),
    (["missing.yaml", *ON], "missing.yaml: file: got nothing"),
    (["llama-3-8b", "--on", "8xmlu690"], "chip: got 'mlu690'; no peak rate"),
    (["llama-3-8b", "--on", "8xp800"], "memory of this chip is not published"),
    (["llama-3-8b", *ON, "--seq-len", "-4"], "seq_len: got -4; allowed: "),
    (["llama-3-8b", *ON, "--batch", "0"], "global_batch: got 0; allowed: "),
    (["llama-3-8b", *ON, "--dtype", "int4"], "dtype: got 'int4'; allowed: "),
    (["llama-3-8b", *ON, "--tokens", "many"], "--tokens: got 'many'; allowed: "),
    (["llama-3-8b", *ON, "--sites", "4"], "--link: got None"),
    (["llama-3-8b", *ON, "--sites", "4", "--link", "fast"], "--link: got 'fast'; allowed: a rate"),
    (["llama-3-8b", *ON, "--sites", "5", "--link", "1 Gbit/s"], "sites can share alike"),
    (["llama-3-8b", "--on", "1000xh100-sxm", "--batch", "1024"], "no layout divides the work"),
    (["llama-3-8b", *ON, "--pue", "0.5"], "--pue: got 0.5; allowed: 1 to 5"),
    (["llama-3-8b", *ON, "--price", "-1"], "--price: got -1.0; allowed: 0 to 100"),
    (["llama-3-8b", *ON, "--place", "ulanqap"], "did you mean 'ulanqab'?"),
    (["llama-3-8b", *ON, "--plot", "x.gif"], "--plot: got 'x.gif'; allowed: "),
    (["llama-3-8b", *ON, "--serve", "--tpot", "0ms"], "--tpot: got '0ms'; allowed: more than 0"),
    (["llama-3-8b", *ON, "--serve", "--precision", "fp3"], "--precision: got 'fp3'; allowed: "),
    (["llama-3-405b", "--on", "1xh100-sxm", "--serve"], "allowed: 8 chips or more"),
    (["llama-3-8b", *ON, "--serve", "--tpot", "1ms"], "no batch is in time"),
    (["llama-3-405b", "--on", "8xh100-sxm"], "llama-3-405b"),
    (
        ["gpt-3-175b", *ON, "--layout", "tp=7"],
        "the 96 heads cannot be split by a tensor degree of 7",
    ),
    (["llama-3-8b", *ON, "--layout", "tq=4"], "--layout: got 'tq=4'; allowed: tp, pp"),
    (["llama-3-8b", *ON, "--layout", "recompute=most"], "recompute = none, selective"),
    (["llama-3-8b", *ON, "--stack", "megatron-cor"], "did you mean 'megatron-core'?"),
    (["llama-3-8b", "--on", "8xh20+8xh100"], "did you mean 'h100-sxm'?"),
    (["llama-3-8b", "--on", "8xh20+8xh100-sxm", "--serve"], "kinds serve by themselves"),
    (
        ["llama-3-8b", "--on", "64xh20+63xh100-sxm", "--sites", "2", "--link", "1 Gbit/s"],
        "2 sites can share alike",
    ),
    (["llama-3-8b", "--pool", "missing.yaml"], "missing.yaml"),
    (["llama-3-8b", "--pool", POOL, "--link", "1 Gbit/s"], "--link: got '1 Gbit/s'; allowed: w"),
    (["llama-3-8b", "--pool", POOL, "--serve"], "allowed: without --serve"),
    (["llama-3-8b", "--pool", POOL, *ON], "allowed: one of --on CHIPS, --pool FILE"),
    (["llama-3-8b", "--pool", POOL, "--match", "8xh20", "--with", "h20"], "not with --pool"),
    (["llama-3-8b", *ON, "--serve", "--sites", "2", "--link", "1 Gbit/s"], "--sites: got 2"),
    (["calibrate"], "RUNS: got None"),
    (["llama-3-8b", "x.csv", *ON], "RUNS: got 'x.csv'"),
]


@pytest.mark.parametrize(("words", "says"), BAD, ids=[" ".join(w)[:60] for w, _ in BAD])
def test_bad_input(capsys: Capture, words: list[str], says: str) -> None:
    assert main(["plan", *words]) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert shown.err.count("\n") == 1
    assert not shown.out


def test_a_model_that_fits_nowhere_says_what_would(capsys: Capture) -> None:
    assert main(["plan", "llama-3-405b", "--on", "8xh100-sxm"]) == 2
    error = capsys.readouterr().err
    assert "the leanest needs" in error
    assert "allowed: 128 chips or more" in error


RUNS = "chip,model,chips,tp,step_s\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (RUNS, "rows: got 0 runs; allowed: 3 to 200"),
        (RUNS + "h100-sxm,llama-3-8b,8,1,x\n" * 3, "line 2: step_s: got 'x'"),
        (RUNS + "h100-sxm,llama-3-8b,8,0,1\n" * 3, "line 2: tp: got '0'"),
        (RUNS + "h100-sxm,llama-3-8b,8,3,1\n" * 3, "line 2: chips: got 8; allowed: "),
        (RUNS + "h100-sxm,,8,1,1\n" * 3, "line 2: model: got nothing"),
        (RUNS + "h20,llama-3-8b,8,1,1\nh100-sxm,llama-3-8b,8,1,1\n" * 2, "one chip kind"),
        (RUNS + "h101,llama-3-8b,8,1,1\n" * 3, "chip: got 'h101'"),
        ("chips,speed\n1,2\n", "column: got 'speed'; no such column"),
    ],
)
def test_bad_runs(capsys: Capture, tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "runs.csv"
    file.write_text(text)
    assert main(["plan", "calibrate", str(file)]) == 2
    shown = capsys.readouterr().err
    assert says in shown
    assert shown.count("\n") == 1


def test_a_calibration_that_is_none(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text("[]")
    assert main(["plan", "llama-3-8b", *ON, "--calibration", str(file)]) == 2
    assert "allowed: what `skep plan calibrate" in capsys.readouterr().err
    file.write_text('{"chip": "h100-sxm", "factors": {"products": 99}}')
    assert main(["plan", "llama-3-8b", *ON, "--calibration", str(file)]) == 2
    assert "factors.products: got 99.0" in capsys.readouterr().err
