"""What every store does: the same tests over memory, SQLite and PostgreSQL."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skep.errors import ConflictError, StoreError
from skep.lifecycle import replay
from skep.model.event import Deferred, Event, SiteJoined, Submitted
from skep.model.job import Job
from skep.model.state import JobState, SiteState
from skep.store.base import ENDED_KEPT, Store
from skep.store.memory import MemoryStore
from skep.store.sql import SqlStore, open_store
from tests.postgres import Postgres, postgres_server

__all__ = ["postgres_server"]  # a fixture


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "state")
    return str(request.getfixturevalue("postgres").database())


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "sqlite":
        made = open_store(tmp_path / "state")
    else:
        made = open_store(request.getfixturevalue("postgres").database())
    yield made
    made.close()


def a_job(key: str = "j1", name: str = "train", at: float = 1.0, **changes: object) -> JobState:
    return replace(JobState(key, Job(name=name, run="true"), "ada", at), **changes)  # type: ignore[arg-type]


def submitted(job: JobState) -> Submitted:
    return Submitted(at=job.submitted_at, job=job.id, spec=job.spec, user=job.user)


def deferred(job: str, reason: str = "no chips") -> Deferred:
    return Deferred(at=2.0, job=job, reason=reason, refusals={"no chips": 3})


def everything(store: Store) -> tuple[object, ...]:
    return store.load(), store.events(), store.progress("j1")


def test_what_is_appended_is_read_back(store: Store) -> None:
    job, site = a_job(), SiteState("east", "up", "agent-1", 3.5, "first report")
    joined = SiteJoined(at=3.5, site="east", agent="agent-1")
    logged = store.append([submitted(job), joined], jobs=[job], sites=[site], expect={"j1": 0})
    assert [entry.seq for entry in logged] == [1, 2]
    assert store.events() == logged
    assert [entry.event for entry in logged] == [submitted(job), joined]
    loaded = store.load()
    assert (loaded.jobs, loaded.sites, loaded.seq) == ((job,), (site,), 2)
    assert store.job("j1") == job
    assert store.job("j2") is None


def test_an_empty_store_answers(store: Store) -> None:
    loaded = store.load()
    assert (loaded.jobs, loaded.sites, loaded.seq) == ((), (), 0)
    assert store.append([]) == store.events() == store.find("") == store.progress("j1") == ()
    assert store.progress_offsets([]) == store.progress_offsets(["r"]) == {}


def test_numbers_go_on_without_gap_or_reuse(store: Store) -> None:
    job = a_job()
    store.append([submitted(job)], jobs=[job])
    with pytest.raises(ConflictError):
        store.append([deferred("j1")], expect={"j1": 7})
    numbers = [e.seq for _ in range(5) for e in store.append([deferred("j1"), deferred("j1")])]
    assert numbers == list(range(2, 12))
    assert store.load().seq == 11


@pytest.mark.parametrize("expect", [{"j1": 0}, {"j1": 2}, {"j1": 1, "j2": 1}, {"j2": 1}])
def test_a_moved_world_is_refused_and_nothing_is_written(
    store: Store, expect: dict[str, int]
) -> None:
    job = a_job()
    store.append([submitted(job)], jobs=[job], expect={"j1": 0, "j2": 0})
    before = everything(store)
    with pytest.raises(ConflictError, match="version"):
        store.append(
            [deferred("j1")],
            jobs=[replace(job, version=2)],
            sites=[SiteState("east", "up")],
            expect=expect,
        )
    assert everything(store) == before


def test_a_state_that_cannot_be_had_leaves_nothing_behind(store: Store) -> None:
    def broken() -> Iterator[JobState]:
        yield a_job()
        raise ZeroDivisionError

    before = everything(store)
    with pytest.raises(ZeroDivisionError):
        store.append([deferred("j1")], jobs=broken(), sites=[SiteState("east")])
    assert everything(store) == before


def test_the_last_of_two_states_of_one_append_counts(store: Store) -> None:
    store.append([], jobs=[a_job(), a_job(version=5)], sites=[SiteState("s"), SiteState("s", "up")])
    loaded = store.load()
    assert [j.version for j in loaded.jobs] == [5]
    assert [s.phase for s in loaded.sites] == ["up"]


def test_very_many_at_once(store: Store) -> None:
    expect = {f"j{i:05d}": 0 for i in range(70_000)}  # more than fit in one statement
    store.append([deferred("j00000")] * 5000, expect=expect)
    assert store.load().seq == 5000
    with pytest.raises(ConflictError):
        store.append([], expect={**expect, "j": 1})
    assert store.progress_offsets(expect) == {}


def test_events_come_in_pages_and_by_job(store: Store) -> None:
    log: list[Event] = [deferred(f"j{i % 3}", str(i)) for i in range(20)]
    store.append(log)
    assert [e.event for e in store.events(limit=7)] == log[:7]
    assert [e.seq for e in store.events(after=18)] == [19, 20]
    assert store.events(after=20) == ()
    assert [e.seq for e in store.events(job="j1", after=5, limit=3)] == [8, 11, 14]
    assert store.events(job="") == store.events(job="j9") == ()


def test_load_leaves_out_the_oldest_ended_jobs(store: Store) -> None:
    ended = [
        a_job(f"e{i:04d}", at=1.0, phase="failed", ended_at=float(i)) for i in range(ENDED_KEPT + 3)
    ]
    still = [a_job("w1", at=0.5), a_job("w2", at=2.0, phase="running")]
    store.append([], jobs=[*still, *ended])
    ids = [job.id for job in store.load().jobs]
    assert ids == ["w1", *(j.id for j in ended[3:]), "w2"]
    assert store.job("e0000") == ended[0]


def test_jobs_are_found_by_the_start_of_id_or_name(store: Store) -> None:
    names = {"a1": "train", "a2": "Train", "b1": "tr_in", "b2": "trxin", "c1": "a2nd"}
    store.append([], jobs=[a_job(k, n, at=float(i)) for i, (k, n) in enumerate(names.items())])
    assert store.find("T") == ("a2",)
    assert store.find("tr") == ("b2", "b1", "a1")
    assert store.find("tr_") == ("b1",)
    assert store.find("tr%") == ()
    assert store.find("a2") == ("c1", "a2")
    assert store.find("", limit=2) == ("c1", "b2")
    assert store.find("\x00") == store.find("\ud800") == store.find("nothing'--") == ()


def test_progress_is_kept_once_and_without_gaps(store: Store) -> None:
    lines = [{"step": i, "loss": 4.0 / (i + 1), "text": "é\x00\ud800"} for i in range(6)]
    assert store.add_progress("j1", "r1", 0, lines[:3]) == 3
    assert store.add_progress("j1", "r2", 0, [{"step": 0}]) == 1
    assert store.add_progress("j1", "r1", 1, lines[1:5]) == 5  # overlaps
    assert store.add_progress("j1", "r1", 0, lines[:2]) == 5  # all known
    assert store.add_progress("j1", "r1", 6, lines[:1]) == 5  # a gap
    assert store.add_progress("j1", "r1", 5, []) == 5
    got = store.progress("j1")
    assert [line for _, run, line in got if run == "r1"] == lines[:5]
    assert [n for n, _, _ in got] == [1, 2, 3, 4, 5, 6]
    assert store.progress("j1", after=2, limit=2) == got[2:4]
    assert store.progress("j2") == ()
    assert store.progress_offsets(["r1", "r2", "r3"]) == {"r1": 5, "r2": 1}


def test_progress_keeps_numbers_that_json_has_not(store: Store) -> None:
    store.add_progress("j1", "r1", 0, [{"loss": float("nan"), "best": float("inf")}])
    [(_, _, line)] = store.progress("j1")
    assert line["loss"] != line["loss"]
    assert line["best"] == float("inf")


def test_of_many_threads_one_commits_each_version(store: Store) -> None:
    job = a_job()
    store.append([submitted(job)], jobs=[job])
    won: list[int] = []

    def work() -> None:
        while (state := store.job("j1")) and state.version < 20:
            new = replace(state, version=state.version + 1)
            try:
                store.append([deferred("j1")], jobs=[new], expect={"j1": state.version})
            except ConflictError:
                continue
            won.append(new.version)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(2, 21))
    assert [e.seq for e in store.events()] == list(range(1, 21))


def test_stores_do_the_same(address: str) -> None:
    chance = random.Random(7)
    real, fake = open_store(address), MemoryStore()
    for _ in range(150):
        step = _a_step(chance)
        assert _outcome(step, real) == _outcome(step, fake)
    real.close()
    again = open_store(address, read_only=True)
    assert again.load() == fake.load()
    again.close()


def _a_step(chance: random.Random) -> Callable[[Store], object]:
    key, run = f"j{chance.randrange(4)}", f"r{chance.randrange(3)}"
    phase = chance.choice(["waiting", "running", "failed", "succeeded"])
    end = chance.choice([None, 5.0, 6.0])
    job = a_job(key, chance.choice(["x", "xy"]), chance.random(), phase=phase, ended_at=end)
    job = replace(job, version=chance.randrange(1, 4))
    events = [deferred(key)] * chance.randrange(3)
    expect = {key: chance.randrange(4)} if chance.random() < 0.5 else None
    which, start = chance.choice([None, key]), chance.choice(["", "x", "xy", "j"])
    offset, after, limit = chance.randrange(6), chance.randrange(9), chance.randrange(1, 9)
    return chance.choice(
        [
            lambda s: s.append(events, jobs=[job], sites=[SiteState(run)], expect=expect),
            lambda s: s.add_progress(key, run, offset, [{"i": i} for i in range(limit)]),
            lambda s: s.events(job=which, after=after, limit=limit),
            lambda s: (s.load(), s.job(key), s.find(start, limit)),
            lambda s: (s.progress(key, after=after, limit=limit), s.progress_offsets([run, "r9"])),
        ]
    )


def _outcome(step: Callable[[Store], object], store: Store) -> object:
    try:
        return step(store)
    except ConflictError as error:
        return str(error)


def test_a_second_writer_is_refused_and_a_reader_is_not(address: str) -> None:
    first = open_store(address)
    first.append([], jobs=[a_job()])
    with pytest.raises(StoreError, match=rf"in use by process {os.getpid()}"):
        open_store(address)
    reader = open_store(address, read_only=True)
    assert reader.load().jobs == (a_job(),)
    with pytest.raises(StoreError, match="reading only"):
        reader.append([deferred("j1")])
    first.append([], jobs=[a_job("j2")])
    assert reader.job("j2") == a_job("j2")
    first.close()
    second = open_store(address)
    assert second.job("j2") == a_job("j2")
    second.close()
    reader.close()


WRITER = """
import os, sys
from dataclasses import replace
from skep.lifecycle import apply
from skep.model.event import Deferred, Submitted
from skep.model.job import Job
from skep.store.sql import open_store
store = open_store(sys.argv[1])
state = store.job("j1")
if state is None:
    event = Submitted(at=1.0, job="j1", spec=Job(name="n", run="true"))
    state = apply(None, event)
    store.append([event], jobs=[state], expect={"j1": 0})
while True:
    events = [Deferred(at=2.0, job="j1", reason=str(state.version + i)) for i in range(3)]
    old = state.version
    for event in events:
        state = apply(state, event)
    logged = store.append(events, jobs=[state], expect={"j1": old})
    os.write(1, f"{logged[-1].seq} {state.version}\\n".encode())
"""


def test_a_killed_writer_loses_nothing_that_was_acknowledged(address: str) -> None:
    chance, acknowledged = random.Random(11), (0, 0)
    for _ in range(6):
        acknowledged = _write_until_killed(address, chance.uniform(0.0, 0.25))
        store = open_store(address)
        log = store.events(limit=1_000_000)
        assert [entry.seq for entry in log] == list(range(1, len(log) + 1))
        assert acknowledged[0] <= len(log) <= acknowledged[0] + 3
        assert store.load().jobs == tuple(replay(entry.event for entry in log)[0].values())
        state = store.job("j1")
        assert state is not None
        assert acknowledged[1] <= state.version == len(log)
        store.close()
    assert acknowledged[0] > 18  # the last writer has gone on from where the others had come


def _write_until_killed(address: str, seconds: float) -> tuple[int, int]:
    """(number, version) that the writer said last."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, address], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    first = writer.stdout.readline()
    time.sleep(seconds)
    writer.kill()
    lines = [first, *writer.stdout.read().splitlines(keepends=True)]
    writer.wait()
    seq, version = next(line for line in reversed(lines) if line.endswith(b"\n")).split()
    return int(seq), int(version)


def test_a_server_that_crashed_is_used_again_when_it_is_back(postgres: Postgres) -> None:
    store = open_store(postgres.database())
    job = a_job()
    store.append([submitted(job)], jobs=[job])
    postgres.stop(signal.SIGQUIT)
    with pytest.raises(StoreError, match="server"):
        store.append([deferred("j1")])
    with pytest.raises(StoreError, match="server"):
        store.load()
    postgres.start()
    store.append([deferred("j1")])
    assert [entry.seq for entry in store.events()] == [1, 2]
    store.close()


def test_a_writer_that_was_replaced_is_fenced(postgres: Postgres) -> None:
    address = postgres.database()
    late = open_store(address)
    postgres.stop(signal.SIGQUIT)  # the lock of the first writer dies with its connection
    postgres.start()
    new = open_store(address)
    new.append([deferred("j1")])
    with pytest.raises(StoreError, match="taken over by process"):
        late.append([deferred("j1")])
    assert len(late.events()) == 1
    late.close()
    new.append([deferred("j1")])
    new.close()


def test_a_password_is_never_said() -> None:
    with pytest.raises(StoreError) as caught:
        SqlStore("postgresql://ada:geheim@127.0.0.1:1/none?sslpassword=geheim")
    assert "geheim" not in str(caught.value)
    assert "cannot be reached" in str(caught.value)
