"""What serving processes say of themselves must not be able to end them."""

from __future__ import annotations

import asyncio
import io
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skep.api import app
from skep.stderr import say


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_under_the_log_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, write_through=True))
    with pytest.raises(OSError, match="No space"):
        sys.stderr.write("so it is")
    say("nobody hears this")


def test_a_line_carries_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    say("here I am")
    stamp, _, text = capsys.readouterr().err.partition(" ")
    assert text == "here I am\n"
    assert stamp[4] == "-"
    assert "T" in stamp


def test_a_server_whose_loop_fell_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would answer for ever and decide nothing."""
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)

    async def fall() -> None:
        raise RuntimeError("a mistake in the cycle")

    closed: list[bool] = []
    store = SimpleNamespace(close=lambda: closed.append(True))
    loop = SimpleNamespace(run=fall, control=SimpleNamespace(store=store))
    served: Any = SimpleNamespace(
        state=SimpleNamespace(context=SimpleNamespace(loop=loop, live=True))
    )

    async def serve() -> None:
        async with app._lifespan(served):
            await asyncio.sleep(0.01)

    asyncio.run(serve())
    assert raised == [signal.SIGTERM]
    assert closed == [True]
    assert "a mistake in the cycle" in capsys.readouterr().err
