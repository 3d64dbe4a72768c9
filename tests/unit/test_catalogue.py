"""The catalogue: enough of it, each value with its source, and unknown stays unknown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from skep.cli.main import main
from skep.data import catalogue
from skep.errors import InputError
from skep.files.chipfile import find_chip, load_chips


def test_it_is_large_enough() -> None:
    chips, systems = catalogue.chips(), catalogue.systems()
    assert len(chips) - 1 >= 45  # one of them is a core of a server
    assert len(systems) >= 25
    kinds = {s.kind for s in systems.values()} - {"mixed"}
    assert kinds <= chips.keys()


def test_every_value_has_source_date_and_confidence() -> None:
    for facts in (*catalogue.chip_facts().values(), *catalogue.system_facts().values()):
        for fact in facts.values():
            assert fact.value
            assert fact.source
            assert fact.confidence in {"A", "B", "C"}
            assert re.fullmatch(r"20\d\d(-\d\d(-\d\d)?)?", fact.date)


def test_what_is_not_published_is_not_zero() -> None:
    assert catalogue.chips()["ascend-960"].peak_flops is None
    assert catalogue.chips()["mlu690"].memory is None
    assert catalogue.systems()["atlas-950-superpod"].power is None


def test_values_have_base_units() -> None:
    chip = catalogue.chips()["h100-sxm"]
    assert chip.peak("bf16") == 989e12
    assert chip.peak("fp8") == 1979e12
    assert chip.peak("fp4") is None
    assert chip.scale_up_bandwidth == 450e9  # one way
    assert chip.nic == 400e9
    system = catalogue.systems()["cloudmatrix-384"]
    assert system.power == 559e3
    assert system.per_chip(system.price) == pytest.approx(21_354, abs=1)


def test_a_users_entry_goes_before_the_catalogues(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("chips:\n  - {kind: h100-sxm, peak_flops: 900 TFLOP/s}\n  - {kind: new-chip}\n")
    chips = load_chips(file)
    assert chips["h100-sxm"].peak_flops == 900e12
    assert chips["h100-sxm"].memory is None  # the whole entry is replaced
    assert find_chip("new-chip", chips, "KIND").peak_flops is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("chips: []\n", "chips: "),
        ("chips: [{kind: x, memory: -1}]\n", "chips[0].memory: got -1; "),
        ("chips: [{kind: x, colour: red}]\n", "chips[0].colour: "),
    ],
)
def test_bad_entries(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as told:
        load_chips(file)
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chips", "--vendor", "huawei", "--since", "2026", "--json"]) == 0
    kinds = [chip["kind"] for chip in json.loads(capsys.readouterr().out)]
    assert kinds == ["ascend-950pr", "ascend-950dt", "ascend-960", "ascend-970"]
    assert main(["chips", "ascend-910c", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["facts"]["nic"]["confidence"] == "C"
    assert main(["systems", "--chip", "ascend-910c", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 4
    assert main(["systems", "cloudmatrix-384"]) == 0
    assert "SemiAnalysis" in capsys.readouterr().out
    assert main(["chips"]) == 0
    assert "ascend-910c" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["chips", "h100-smx"], "did you mean 'h100-sxm'?"),
        (["systems", "cloudmatrix-348"], "did you mean 'cloudmatrix-384'?"),
        (["systems", "--chip", "ascend910c"], "did you mean 'ascend-910c'?"),
    ],
)
def test_unknown_names(capsys: pytest.CaptureFixture[str], words: list[str], near: str) -> None:
    assert main(words) == 2
    told = capsys.readouterr().err
    assert near in told
    assert told.count("\n") == 1
