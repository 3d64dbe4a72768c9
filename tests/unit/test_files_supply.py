"""Supply files: CSV by hours; errors name line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from skep.errors import InputError
from skep.files.supply import load_supply


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_columns_and_the_first_hour() -> None:
    Path("s.csv").write_text(
        "\ufeffhour,sun_w, price_usd_mwh\n"
        "2026-01-01T00:00Z,1.5,-20\n\n2026-01-01 02:00+01:00,0,3e1\n"
    )
    table = load_supply("s.csv")
    assert table.start == 1767225600.0
    assert table.hours == 2
    assert {name: list(column) for name, column in table.columns.items()} == {
        "sun_w": [1.5, 0.0],
        "price_usd_mwh": [-20.0, 30.0],
    }


HEAD = "hour,sun_w\n2026-01-01T00:00,1\n"
KNOWN = "sun_w, wind_w, carbon_g_kwh, price_usd_mwh"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "hour,sun\n",
            f"line 1: got 'sun'; no such column (did you mean 'sun_w'?); allowed: {KNOWN}",
        ),
        ("hour\n", f"line 1: got 'hour'; allowed: the hour, then any of {KNOWN}, each once"),
        ("", f"line 1: got nothing; allowed: the hour, then any of {KNOWN}, each once"),
        (
            "hour,sun_w,sun_w\n",
            f"line 1: got 'hour,sun_w,sun_w'; allowed: the hour, then any of {KNOWN}, each once",
        ),
        ("hour,sun_w\n", "line 2: got nothing; allowed: one line for each hour"),
        (HEAD + "2026-01-01T01:00\n", "line 3: got 1; allowed: 2 values, as in the first line"),
        (
            HEAD + "2026-01-01T01:00,x\n",
            "line 3, column sun_w: got 'x'; allowed: a number of 0 or more",
        ),
        (
            HEAD + "2026-01-01T01:00,-1\n",
            "line 3, column sun_w: got '-1'; allowed: a number of 0 or more",
        ),
        (
            HEAD + "2026-01-01T01:00,nan\n",
            "line 3, column sun_w: got 'nan'; allowed: a number of 0 or more",
        ),
        (
            "hour,price_usd_mwh\n2026-01-01T01:00,inf\n",
            "line 2, column price_usd_mwh: got 'inf'; allowed: a number",
        ),
        (
            HEAD + "2026-01-01T02:00,1\n",
            "line 3, column hour: got '2026-01-01T02:00'; allowed: one hour after the line before",
        ),
        (
            HEAD + "1 January,1\n",
            "line 3, column hour: got '1 January'; "
            "allowed: the start of an hour such as '2026-01-31T14:00'",
        ),
    ],
)
def test_refusals(text: str, line: str) -> None:
    Path("s.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        load_supply("s.csv")
    assert str(caught.value) == f"s.csv: {line}"
