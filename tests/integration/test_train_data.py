"""Sites share a data set on a virtual clock: each sample once per pass, whoever dies or joins."""

from collections import Counter

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from skep.train.lead import Options
from skep.train.ranks import Ranks
from skep.train.run import Run
from skep.train.settings import Settings

NAMES = ("a", "b", "c")
COUNT, WIDTH = 600, 4


class Job:
    """Three sites; samples are their own numbers, so that it is seen who trained on which."""

    def __init__(self, virtual, passes=1, shuffle=True, workers=0, folder=""):
        self.world, self.passes, self.folder = virtual.World(), passes, folder
        self.shuffle, self.workers = shuffle, workers
        self.seen, self.runs = {name: [] for name in NAMES}, {}
        self.attempts = Counter()

    def start(self, name, step_s=0.1):
        self.attempts[name] += 1
        run_id = f"j-a{self.attempts[name]}-{name}"
        self.world.start(name, lambda: self.train(name, run_id, step_s))

    def train(self, name, run_id, step_s):
        torch.manual_seed(0)
        model = torch.nn.Linear(WIDTH, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
        data = TensorDataset(torch.arange(COUNT).float().unsqueeze(1).repeat(1, WIDTH))
        loader = DataLoader(data, batch_size=8, shuffle=self.shuffle, num_workers=self.workers)
        chosen = Settings(
            site=name,
            rank=NAMES.index(name),
            run=run_id,
            listen="127.0.0.1:1",
            peers={other: "127.0.0.1:1" for other in NAMES if other != name},
            token=b"of the data",
            checkpoint_dir=f"{self.folder}/{name}" if self.folder else "",
            options=Options(codec="fp32"),
        )
        with Run(model, optimizer, chosen, Ranks()) as run:
            self.runs[name] = run
            for _ in range(self.passes):
                for (x,) in run.data(loader):
                    self.world.step(step_s)
                    (model(x).square().mean() * 0).backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    self.seen[name] += [int(v) for v in x[:, 0]]
            run.finish()
            run._keeper.wait()

    def run(self):
        self.world.run(until=1000.0)
        for seat in self.world.seats.values():
            if seat.failure is not None:
                raise seat.failure
        assert all(seat.over for seat in self.world.seats.values())

    def check(self, names=NAMES):
        """All samples are in the model, and as often as there were passes, by the account."""
        for name in names:
            state = self.runs[name]._states()[0]
            assert state.shelf.over(COUNT * self.passes)
            assert state.shelf.done == COUNT * self.passes
            assert state.tokens == COUNT * self.passes * WIDTH
            assert self.runs[name].global_tokens == state.tokens


@pytest.mark.parametrize(("passes", "shuffle"), [(1, True), (2, False)])
def test_each_sample_is_trained_once_per_pass(virtual, passes, shuffle):
    job = Job(virtual, passes, shuffle)
    for name, step_s in zip(NAMES, (0.1, 0.1, 0.4), strict=True):
        job.start(name, step_s)
    job.run()
    seen = Counter(sample for name in NAMES for sample in job.seen[name])
    assert set(seen) == set(range(COUNT))
    assert set(seen.values()) == {passes}
    assert len(job.seen["a"]) > 1.5 * len(job.seen["c"])  # dealt out by speed
    job.check()


@pytest.mark.parametrize("keep", [True, False])
def test_no_sample_is_lost_or_repeated_when_a_site_dies_and_comes_back(virtual, tmp_path, keep):
    job = Job(virtual, folder=tmp_path if keep else "")
    for name in NAMES:
        job.start(name)
    job.world.at(1.55, lambda: job.world.kill("b"))
    job.world.at(3.0, lambda: job.start("b"))
    job.run()
    assert {s for name in NAMES for s in job.seen[name]} == set(range(COUNT))
    job.check()


def test_the_others_take_over_what_a_dead_site_held(virtual):
    job = Job(virtual)
    for name in NAMES:
        job.start(name)
    job.world.at(1.55, lambda: job.world.kill("c"))
    job.run()
    job.check("ab")


def test_a_site_that_was_cut_off_brings_its_samples_back(virtual):
    job = Job(virtual)
    for name in NAMES:
        job.start(name, 0.4)
    job.world.at(2.0, lambda: [job.world.part("c", other) for other in "ab"])
    job.world.at(10.0, lambda: [job.world.heal("c", other) for other in "ab"])
    job.run()
    seen = Counter(sample for name in NAMES for sample in job.seen[name])
    assert set(seen.values()) == {1}
    job.check()


def test_a_site_that_was_away_for_too_long_has_its_samples_trained_by_others(virtual):
    job = Job(virtual)
    for name in NAMES:
        job.start(name, 0.4)
    job.world.at(2.0, lambda: [job.world.part("c", other) for other in "ab"])
    job.world.at(60.0, lambda: [job.world.heal("c", other) for other in "ab"])
    job.run()
    assert {s for name in "ab" for s in job.seen[name]} < set(range(COUNT))  # what c merged before
    job.check("ab")


def test_a_newcomer_gets_its_share(virtual):
    job = Job(virtual)
    job.start("a")
    job.start("b")
    job.world.at(1.0, lambda: job.start("c"))
    job.run()
    assert len(job.seen["c"]) > 50
    seen = Counter(sample for name in NAMES for sample in job.seen[name])
    assert set(seen.values()) == {1}
    job.check()
