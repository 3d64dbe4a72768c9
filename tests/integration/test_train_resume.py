"""A model goes on from its checkpoints at another number of sites. On a virtual clock."""

import pytest
import torch

from skep.train.ranks import Ranks
from skep.train.run import Run
from skep.train.settings import Settings


class Job:
    """The sites of ``names`` train for ``end`` virtual seconds and keep checkpoints."""

    def __init__(self, virtual, folder, names, end, attempt=1):
        self.world, self.folder, self.names, self.end = virtual.World(), folder, names, end
        self.runs, self.told, self.began = {}, [], {}
        for name in names:
            run = f"j-a{attempt}-{name}"
            self.world.start(name, lambda name=name, run=run: self.train(name, run))

    def train(self, name, run_id):
        torch.manual_seed(ord(name))
        model = torch.nn.Linear(4, 1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
        chosen = Settings(
            site=name,
            rank=ord(name),
            run=run_id,
            listen="127.0.0.1:1",
            peers={other: "127.0.0.1:1" for other in self.names if other != name},
            token=b"of the checkpoints",
            checkpoint_dir=f"{self.folder}/{name}",
            on_event=self.told.append,
        )
        chance = torch.Generator().manual_seed(ord(name))
        with Run(model, optimizer, chosen, Ranks()) as run:
            self.runs[name], self.began[name] = run, run.round
            while run.elapsed < self.end:
                self.world.step(0.1)
                x = torch.randn(16, 4, generator=chance)
                (model(x).squeeze(1) - x.sum(1)).square().mean().backward()
                run.tokens(16)
                optimizer.step()
                optimizer.zero_grad()
            run.finish()

    def run(self, until=1000.0):
        self.world.run(until)
        for seat in self.world.seats.values():
            if seat.failure is not None:
                raise seat.failure
        return self

    def killed(self, at):
        self.run(at)
        for run in self.runs.values():
            run._keeper.wait()
        return self


@pytest.mark.parametrize(
    ("before", "after"),
    [("ab", "abc"), ("ab", "cd"), ("abcde", "de"), ("abcd", "dxy"), ("abcde", "e")],
)
def test_checkpoints_go_on_at_other_sites(virtual, tmp_path, before, after):
    old = Job(virtual, tmp_path, before, end=100.0).killed(12.0)
    rounds, tokens = old.runs[before[0]].round, old.runs[before[0]].global_tokens
    assert rounds >= 8
    new = Job(virtual, tmp_path, after, end=8.0, attempt=2).run()
    digests = {run.digest for run in new.runs.values()}
    assert len(digests) == 1
    kept = set(before) & set(after)
    assert any("resumed" in text for text in new.told) == bool(kept)
    assert not any("stands still" in text for text in new.told)
    trained = sum(run.stats["tokens"] for run in new.runs.values())
    total = new.runs[after[0]].global_tokens
    if not kept:
        assert total == trained
        return
    # The last checkpoint is of 10 s, or of 5 s where the disk was busy then.
    assert min(new.began.values()) >= 0.25 * rounds
    assert tokens * 0.25 < total - trained <= tokens
    assert all(run.round > new.began[name] + 3 for name, run in new.runs.items())
    loss = (new.runs[after[0]].synchronised[:4] - 1).abs().max()
    assert float(loss) < 0.2


def test_a_site_that_is_started_among_others_of_which_some_are_missing_waits_for_most(
    virtual, tmp_path
):
    Job(virtual, tmp_path, "abcd", end=100.0).killed(12.0)
    new = Job(virtual, tmp_path, "abcd", end=8.0, attempt=2)
    for name in "ab":
        new.world.kill(name)
    new.run()
    assert any("sites are missing: the anchor stands still" in text for text in new.told)
