"""Nodes and sites that failed a job: avoided while others fit, told, and forgiven in time."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from skep.cli.tables import runs_table, why_text
from skep.control.avoid import MOST_NODES, grounds
from skep.model.policy import Policy
from tests.pilot import Pilot


def failed(pilot: Pilot, attempt: int, site: str, now: float, *nodes: str) -> None:
    """The attempt works, and fails there on ``nodes``; a second later it is placed again."""
    run = f"job-a{attempt}-{site}"
    pilot.running(run, now=now)
    pilot.tell(run, "failed", now + 1, exit_code=1, reason="ECC error", nodes=nodes)
    pilot.beat(now + 100)


def placed(pilot: Pilot) -> dict[str, tuple[str, ...]]:
    """Site -> nodes that the job is kept off there."""
    return {run.share.site: run.share.avoid for run in pilot.job().live()}


def two_sites(**policy: object) -> Pilot:
    pilot = Pilot(8, 8, nodes=4, policy=Policy(retry_delay=1.0, **policy))  # type: ignore[arg-type]
    pilot.submit(chips=2, retries=9)
    return pilot


def test_a_node_that_failed_a_job_is_avoided_and_not_its_site() -> None:
    pilot = two_sites()
    failed(pilot, 1, "a", 0, "n1")
    assert placed(pilot) == {"a": ("n1",)}
    (order,) = pilot.report("a", 101).orders
    assert order.share.avoid == ("n1",)
    assert "; off n1 at a, where it failed" in pilot.job().decision
    pilot.check()


def test_where_no_node_is_named_the_site_is_avoided() -> None:
    pilot = two_sites()
    failed(pilot, 1, "a", 0)
    assert placed(pilot) == {"b": ()}
    failed(pilot, 2, "b", 110)
    assert placed(pilot) == {"a": ()}
    assert pilot.job().decision.endswith("; a failed it before")
    pilot.check()


def test_a_second_failure_at_a_site_is_not_the_nodes() -> None:
    pilot = two_sites()
    failed(pilot, 1, "a", 0, "n1")
    failed(pilot, 2, "a", 110, "n2")
    assert placed(pilot) == {"b": ()}
    pilot.check()


def test_more_nodes_than_can_be_avoided_are_as_none() -> None:
    pilot = two_sites()
    failed(pilot, 1, "a", 0, *(f"n{row}" for row in range(MOST_NODES + 1)))
    assert placed(pilot) == {"b": ()}
    assert pilot.run("job-a1-a").nodes == ()


def test_without_avoidance_of_nodes_the_site_is_avoided_and_without_both_nothing_is() -> None:
    pilot = two_sites(avoid_nodes=0)
    failed(pilot, 1, "a", 0, "n1")
    assert placed(pilot) == {"b": ()}
    pilot = two_sites(avoid_nodes=0, avoid_sites=0)
    failed(pilot, 1, "a", 0, "n1")
    assert placed(pilot) == {"a": ()}
    assert pilot.run("job-a1-a").nodes == ("n1",)


def test_nobody_waits_for_a_node_that_is_avoided() -> None:
    pilot = Pilot(8, nodes=4, policy=Policy(retry_delay=1.0))
    pilot.submit(chips=8, retries=9)
    failed(pilot, 1, "a", 0, "n1")
    assert placed(pilot) == {"a": ("n1",)}  # the site gives them where it has no others
    for row in range(2, 7):
        failed(pilot, row, "a", 110.0 * row, f"n{row}")
    assert set(placed(pilot)["a"]) == {f"n{row}" for row in range(1, 7) if row > 1} | {"n1"}
    pilot.check()


def test_the_oldest_nodes_are_forgiven_first_where_there_are_too_many() -> None:
    pilot = Pilot(8, nodes=4, policy=Policy(retry_delay=0, avoid_sites=0))
    pilot.submit(chips=2, retries=99)
    for row in range(1, MOST_NODES + 3):
        failed(pilot, row, "a", 110.0 * row, f"n{row}")
    kept = placed(pilot)["a"]
    assert len(kept) == MOST_NODES
    assert not {"n1", "n2"}.intersection(kept)


def test_what_is_avoided_is_forgiven_in_time_also_while_the_job_waits() -> None:
    pilot = Pilot(8, nodes=4, policy=Policy(retry_delay=1.0, avoid_nodes=1000.0))
    pilot.submit(chips=8, retries=9)
    pilot.running("job-a1-a", now=0)
    pilot.tell("job-a1-a", "failed", 1, exit_code=1, nodes=("n1",))
    pilot.submit("other", chips=2, now=1.5)
    pilot.beat(3)
    line = pilot.control.world.line
    assert line is not None
    waiting = line.find("job")
    assert waiting is not None
    assert waiting.off == ((0, 2),)
    assert [str(g) for g in grounds(pilot.job(), pilot.policy, 3)] == [
        "n1 at a until 1970-01-01 00:16 UTC: run job-a1-a failed on it"
    ]
    pilot.beat(1002)
    forgiven = line.find("job")
    assert forgiven is not None
    assert forgiven.off == ()
    assert not pilot.control.world.avoiding


def test_a_new_control_plane_avoids_the_same() -> None:
    pilot = two_sites()
    pilot.running("job-a1-a", now=0)
    pilot.tell("job-a1-a", "failed", 1, exit_code=1, nodes=("n1",))
    pilot.start(3)
    pilot.beat(3)
    assert placed(pilot) == {"a": ("n1",)}
    pilot.check()


def test_why_and_show_tell_what_is_avoided_and_until_when() -> None:
    pilot = two_sites()
    failed(pilot, 1, "a", 0, "n1")
    story = pilot.control.why("job", 101)
    assert "Avoids, where others fit: n1 at a until 1970-01-02 00:00 UTC" in str(why_text(story))
    assert "run job-a1-a failed, on n1 (exit 1): ECC error" in str(why_text(story))
    console = Console(file=StringIO(), width=200)
    console.print(runs_table(pilot.control.job("job", 101).runs, 101))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "ECC error (exit 1); on n1" in shown
    assert "; kept off n1" in shown
