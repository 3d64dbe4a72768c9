"""What an engine promises of real processes: environment, reasons, signals, kills, output."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from skep.engines.base import Material


class TestProcesses:
    def test_reasons_in_words(self, real_rig: Any) -> None:
        cases = {
            "trian.py --fast": (127, "command not found: trian.py (exit 127)"),
            "kill -9 $$": (137, "the process was killed by signal 9"),
            "echo start; echo 'ValueError: bad lr' >&2; exit 1": (
                1,
                "the process ended with exit code 1: ValueError: bad lr",
            ),
        }
        for number, (command, expected) in enumerate(cases.items()):
            run = f"r{number}"
            real_rig.start(real_rig.order(run, command, job=run))
            ended = real_rig.until(run, "failed")
            assert (ended.exit_code, ended.reason) == expected

    def test_failed_setup(self, real_rig: Any) -> None:
        setup = "echo no such package >&2; exit 2"
        real_rig.engine.prepare(real_rig.order(spec={"setup": setup}), Material())
        ended = real_rig.until("r1", "failed")
        assert ended.reason == "setup ended with exit code 2: no such package"
        assert real_rig.text("r1", "setup") == "no such package\n"

    def test_one_failed_process_ends_the_others(self, real_rig: Any) -> None:
        command = "[ $RANK = 1 ] && exit 7; exec sleep 60"
        real_rig.start(real_rig.order(command=command, share={"chips": 3}))
        ended = real_rig.until("r1", "failed")
        assert ended.exit_code == 7
        assert ended.reason == "process 2 of 3 (rank 1) ended with exit code 7"
        assert real_rig.gone(real_rig.pid("r1", "0"))
        assert real_rig.gone(real_rig.pid("r1", "2"))

    def test_a_killed_rank(self, real_rig: Any) -> None:
        real_rig.start(real_rig.order(command="sleep 60", share={"chips": 2}))
        real_rig.until("r1", "running")
        os.kill(real_rig.pid("r1", "0"), signal.SIGKILL)
        ended = real_rig.until("r1", "failed")
        assert ended.reason == "process 1 of 2 (rank 0) was killed by signal 9"
        assert real_rig.gone(real_rig.pid("r1", "1"))

    def test_stop_gives_grace_and_then_kills(self, real_rig: Any) -> None:
        real_rig.start(
            real_rig.order(
                "r1", "trap 'echo bye; exit 0' TERM; echo on; while :; do sleep 0.02; done"
            ),
        )
        real_rig.start(
            real_rig.order("r2", "trap '' TERM; echo on; while :; do sleep 0.02; done", job="j2")
        )
        while "on" not in real_rig.text("r1") or "on" not in real_rig.text("r2"):
            time.sleep(0.01)
        real_rig.engine.stop("r1", 10.0, "enough")
        began = time.monotonic()
        real_rig.engine.stop("r2", 0.3, "enough")
        assert real_rig.until("r1", "stopped").exit_code == 0
        assert real_rig.text("r1").endswith("bye\n")
        assert real_rig.until("r2", "stopped").exit_code == 137
        assert 0.25 < time.monotonic() - began < 5
        assert real_rig.gone(real_rig.pid("r2", "0"))

    def test_a_shorter_grace_overtakes_a_longer(self, real_rig: Any) -> None:
        real_rig.start(real_rig.order(command="trap '' TERM; while :; do sleep 0.02; done"))
        real_rig.until("r1", "running")
        time.sleep(0.1)
        real_rig.engine.stop("r1", 600.0, "cancelled")
        real_rig.engine.stop("r1", 0.1, "at once")
        assert real_rig.until("r1", "stopped").reason == "cancelled"

    def test_nothing_survives_a_run(self, real_rig: Any, tmp_path: Path) -> None:
        """Not even what moved to a session of its own and cleared its environment."""
        note = tmp_path / "pid"
        daemon = f"echo $$ > {note}.new; mv {note}.new {note}; exec sleep 60"
        real_rig.start(real_rig.order(command=f"setsid env -i /bin/sh -c '{daemon}' & sleep 0.3"))
        real_rig.until("r1", "succeeded")
        assert real_rig.gone(int(note.read_text()), within=0.0)

    def test_environment(self, real_rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SKEP_TOKEN", "of the agent")
        monkeypatch.setenv("CLOUD_API_KEY", "of the agent")
        monkeypatch.setenv("RANK", "99")
        wanted = real_rig.order(
            command="env > $SKEP_WORK_DIR/env.$RANK; cat $SKEP_TOKEN_FILE",
            share={"chips": 4, "nodes": 2, "rank": 1},
            site_count=2,
            peers={"b": "127.0.1.2:7000"},
            chip_speed=2e9,
            spec={"env": {"LR": "0.1", "SKEP_SITE": "mine"}},
        )
        real_rig.start(wanted, token="shared")
        address = real_rig.until("r1", "succeeded").address
        found = [_environ(real_rig, rank) for rank in range(4)]
        assert [e["RANK"] for e in found] == ["0", "1", "2", "3"]
        assert [e["LOCAL_RANK"] for e in found] == ["0", "1", "0", "1"]
        assert [e["GROUP_RANK"] for e in found] == ["0", "0", "1", "1"]
        assert len({e["MASTER_PORT"] for e in found}) == 1
        one = found[0]
        assert (one["WORLD_SIZE"], one["LOCAL_WORLD_SIZE"]) == ("4", "2")
        assert (one["SKEP_SITE"], one["SKEP_SITE_RANK"], one["SKEP_SITE_COUNT"]) == ("a", "1", "2")
        assert one["SKEP_PEERS"] == "b=127.0.1.2:7000"
        assert one["SKEP_LISTEN"] == address
        assert float(one["SKEP_CHIP_SPEED"]) == 2e9
        assert one["LR"] == "0.1"
        assert not {"SKEP_TOKEN", "CLOUD_API_KEY", "SKEP_PROXY"} & one.keys()
        assert real_rig.text("r1") == "shared"
        assert "shared" not in Path(f"/proc/{os.getpid()}/cmdline").read_text()

    def test_processes_per_node_and_site(self, real_rig: Any) -> None:
        for per, count in (("node", 2), ("site", 1)):
            spec = {"per": per}
            real_rig.start(
                real_rig.order(per, "true", job=per, spec=spec, share={"chips": 8, "nodes": 2})
            )
            real_rig.until(per, "succeeded")
            processes = {r["process"] for r in real_rig.journal() if r["run"] == per}
            assert len({p for p in processes if p.isdigit()}) == count

    def test_time_limit(self, real_rig: Any) -> None:
        real_rig.start(real_rig.order(command="sleep 60", spec={"time_limit": 0.2}))
        assert real_rig.until("r1", "failed").reason == "time limit of 0.2 s reached"
        assert real_rig.gone(real_rig.pid("r1", "0"))


def _environ(real_rig: Any, rank: int) -> dict[str, str]:
    lines = (real_rig.folder / f"runs/r1/work/env.{rank}").read_text().splitlines()
    return dict(line.partition("=")[::2] for line in lines)


class TestKills:
    @pytest.mark.parametrize("victim", ["guard", "supervisor"])
    @pytest.mark.parametrize("phase", ["ready", "running"])
    def test_supervisor(self, real_rig: Any, victim: str, phase: str) -> None:
        wanted = real_rig.order(command="sleep 60 & sleep 60", share={"chips": 2})
        real_rig.engine.prepare(wanted, Material())
        real_rig.until("r1", "ready")
        if phase == "running":
            real_rig.engine.go(wanted)
            real_rig.until("r1", "running")
        os.kill(real_rig.pid("r1", victim), signal.SIGKILL)
        assert real_rig.until("r1", "failed").reason.startswith("lost its supervisor")
        assert all(real_rig.gone(r["pid"]) for r in real_rig.journal() if r["event"] == "start")
        real_rig.engine.prepare(wanted, Material())
        real_rig.engine.go(wanted)
        real_rig.reopen()
        assert real_rig.until("r1", "failed")
        assert real_rig.starts("r1") == (1 if phase == "running" else 0)

    def test_both_halves_of_the_supervisor(self, real_rig: Any) -> None:
        real_rig.start(real_rig.order(command="setsid sleep 60 & sleep 60", share={"chips": 2}))
        real_rig.until("r1", "running")
        living = {r["pid"] for r in real_rig.journal() if r["event"] == "start"}
        for victim in ("supervisor", "guard"):
            os.kill(real_rig.pid("r1", victim), signal.SIGSTOP)
        for victim in ("supervisor", "guard"):
            os.kill(real_rig.pid("r1", victim), signal.SIGKILL)
        assert real_rig.until("r1", "failed").reason.startswith("lost its supervisor")
        assert all(real_rig.gone(pid) for pid in living)
        assert not _with_environ(f"SKEP_PROGRESS_FILE={real_rig.folder}/runs/r1/".encode())

    def test_agent_killed_between_order_and_start(self, real_rig: Any) -> None:
        """The folder is there, the supervisor is not: the next agent starts it, once."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(real_rig.engine), "_spawn", lambda _self, _folder: None)
            real_rig.engine.prepare(real_rig.order(), Material())
        real_rig.reopen()
        real_rig.until("r1", "ready")
        real_rig.engine.go(real_rig.order())
        real_rig.until("r1", "succeeded")
        assert real_rig.starts("r1") == 1


def _with_environ(mark: bytes) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
    return found


class TestOutput:
    def test_logs_by_offset(self, real_rig: Any) -> None:
        real_rig.start(real_rig.order(command="printf 'rank %s: é\\n' $RANK", share={"chips": 2}))
        real_rig.until("r1", "succeeded")
        chunks = real_rig.engine.logs("r1", {"0": 6}, 1000)
        assert {c.process: (c.offset, c.text) for c in chunks} == {
            "0": (6, ": é\n"),
            "1": (0, "rank 1: é\n"),
        }

    def test_logs_in_small_pieces_give_the_whole(self, real_rig: Any) -> None:
        real_rig.start(real_rig.order(command=r"printf 'a\xff\xc3b é€😀 \xe2\x82 \0 end é\xc3'"))
        real_rig.until("r1", "succeeded")
        text, offset = "", 0
        while chunks := real_rig.engine.logs("r1", {"0": offset}, 5):
            assert chunks[0].offset == offset
            assert len(chunks[0].text.encode()) <= 5
            text += chunks[0].text
            offset += len(chunks[0].text.encode())
        assert text == "a??b é€😀 ?? ? end é?"

    def test_progress_by_line(self, real_rig: Any) -> None:
        lines = r'{"step": 1}\nnonsense\n[1]\n{"loss": NaN}\n{"step": 5}\n{"half'
        real_rig.start(real_rig.order(command=f"printf '{lines}' >> $SKEP_PROGRESS_FILE"))
        real_rig.until("r1", "succeeded")
        malformed = {"kind": "malformed"}
        whole = ({"step": 1}, malformed, malformed, {"loss": None}, {"step": 5})
        for after in (0, 2, 4, 1):
            chunk = real_rig.engine.progress("r1", after, 100)
            assert chunk is not None
            assert (chunk.offset, chunk.lines) == (after, whole[after:])
        two = real_rig.engine.progress("r1", 1, 2)
        assert two is not None
        assert two.lines == whole[1:3]
        assert real_rig.engine.progress("r1", 5, 100) is None
