"""What every engine promises: phases, idempotence, adoption. The rig is in ``conftest.py``."""

from __future__ import annotations

import time
from typing import Any

from skep.engines.base import Material

ENDED = {"succeeded", "failed", "stopped"}


class TestPhases:
    def test_ready_waits_for_go(self, rig: Any) -> None:
        wanted = rig.order()
        rig.engine.prepare(wanted, Material())
        rig.until("r1", "ready")
        time.sleep(0.1)
        assert rig.until("r1", "ready").started_at is None
        rig.engine.go(wanted)
        ended = rig.until("r1", "succeeded")
        assert (ended.exit_code, ended.reason) == (0, "")
        assert ended.started_at is not None
        assert ended.ended_at is not None
        assert ended.started_at <= ended.ended_at

    def test_go_before_ready_counts(self, rig: Any) -> None:
        wanted = rig.order(spec={"setup": "sleep 0.2"})
        rig.engine.prepare(wanted, Material())
        rig.engine.go(wanted)
        rig.until("r1", "succeeded")

    def test_all_is_idempotent(self, rig: Any) -> None:
        wanted = rig.order(command="echo once >> $SKEP_CHECKPOINT_DIR/starts")
        for _ in range(3):
            rig.engine.prepare(wanted, Material())
        for _ in range(3):
            rig.engine.go(wanted)
        rig.until("r1", "succeeded")
        rig.engine.prepare(wanted, Material())
        rig.engine.go(wanted)
        assert len(rig.engine.poll()) == 1
        if rig.real:
            assert (rig.folder / "checkpoints/j1/starts").read_text() == "once\n"

    def test_stop_of_a_running_one(self, rig: Any) -> None:
        rig.start(rig.order(command="sleep 60"))
        rig.until("r1", "running")
        rig.engine.stop("r1", 5.0, "cancelled by ana")
        rig.engine.stop("r1", 5.0, "again")
        assert rig.until("r1", "stopped").reason == "cancelled by ana"

    def test_stop_before_go(self, rig: Any) -> None:
        wanted = rig.order()
        rig.engine.prepare(wanted, Material())
        rig.until("r1", "ready")
        rig.engine.stop("r1", 5.0, "not all sites were ready")
        rig.engine.go(wanted)
        assert rig.until("r1", "stopped").started_at is None
        assert not rig.real or rig.starts("r1") == 0

    def test_stop_right_after_prepare(self, rig: Any) -> None:
        rig.engine.prepare(rig.order(), Material())
        rig.engine.stop("r1", 0.0, "changed my mind")
        rig.engine.go(rig.order())
        assert rig.until("r1", "stopped").reason == "changed my mind"
        assert not rig.real or rig.starts("r1") == 0

    def test_stop_of_one_never_seen_outlives_a_late_prepare(self, rig: Any) -> None:
        rig.engine.stop("r1", 1.0, "cancelled")
        assert rig.until("r1", "stopped").reason == "cancelled"
        rig.reopen()
        rig.engine.prepare(rig.order(), Material())
        rig.engine.go(rig.order())
        assert rig.until("r1", "stopped").started_at is None
        rig.engine.forget("r1")
        rig.engine.prepare(rig.order(), Material())
        assert rig.engine.poll() == ()

    def test_a_forgotten_id_never_runs_again(self, rig: Any) -> None:
        rig.start(rig.order())
        rig.until("r1", "succeeded")
        rig.engine.forget("r1")
        rig.engine.forget("r1")
        assert rig.engine.poll() == ()
        for _ in range(2):
            rig.engine.prepare(rig.order(), Material())
            rig.engine.go(rig.order())
            rig.engine.stop("r1", 0.0, "late")
            assert rig.engine.poll() == ()
            rig.reopen()
        assert not rig.real or rig.starts("r1") == 1

    def test_forgetting_a_living_run_does_nothing(self, rig: Any) -> None:
        rig.start(rig.order(command="sleep 60"))
        rig.until("r1", "running")
        rig.engine.forget("r1")
        assert rig.until("r1", "running")

    def test_failure_has_a_code_and_a_reason(self, rig: Any) -> None:
        rig.start(rig.order(command="exit 3"))
        ended = rig.until("r1", "failed")
        assert ended.exit_code == 3
        assert ended.reason

    def test_a_run_that_is_to_keep_off_nodes_starts_all_the_same(self, rig: Any) -> None:
        rig.start(rig.order(share={"avoid": ["there", "not-there"]}))
        assert rig.until("r1", "succeeded").nodes == ()

    def test_unknown_runs_have_no_output(self, rig: Any) -> None:
        assert rig.engine.logs("nobody", {}, 100) == ()
        assert rig.engine.progress("nobody", 0, 100) is None
        rig.engine.forget("nobody")
        rig.engine.go(rig.order("nobody"))
        assert rig.engine.poll() == ()

    def test_a_new_agent_finds_all_as_it_was(self, rig: Any) -> None:
        rig.start(rig.order("r1", command="sleep 60"))
        rig.until("r1", "running")
        rig.start(rig.order("r2", job="j2"))
        rig.until("r2", "succeeded")
        rig.engine.prepare(rig.order("r3", job="j3"), Material())
        rig.until("r3", "ready")
        rig.reopen()
        assert {r.run: r.phase for r in rig.engine.poll()} == {
            "r1": "running",
            "r2": "succeeded",
            "r3": "ready",
        }
        rig.engine.go(rig.order("r3", job="j3"))
        rig.until("r3", "succeeded")
        rig.engine.stop("r1", 1.0, "enough")
        rig.until("r1", "stopped")

    def test_where_peers_are_expected_an_address_is_told(self, rig: Any) -> None:
        rig.engine.prepare(rig.order("r1", site_count=2), Material())
        rig.engine.prepare(rig.order("r2", job="j2"), Material())
        host, _, port = rig.until("r1", "ready").address.rpartition(":")
        assert host == "127.0.1.1"
        assert int(port) > 0
        assert rig.until("r2", "ready").address == ""
