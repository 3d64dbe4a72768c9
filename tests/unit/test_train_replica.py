"""A site's progress is neither lost nor counted twice, whatever becomes of contributions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.train.ledger import TOGETHER, VECTORS
from skep.train.outer import PLAIN, fresh, outer_step, sealed
from skep.train.parts import fits
from skep.train.replica import Replica, mended


def make():
    state = fresh(torch.zeros(1), "0/a")
    return Replica("a", "r1", state, 0.0), state


def test_a_merged_contribution_leaves_only_what_came_after_it():
    replica, state = make()
    replica.pending = 10
    part = replica.part(torch.tensor([1.0]), 1.0)
    replica.pending += 5
    new = outer_step(state, torch.tensor([0.5]), PLAIN, 20, {"a": ("r1", part.number)})
    assert float(replica.adopt(torch.tensor([1.25]), new)) == 0.75  # 0.5 + the 0.25 done since
    assert replica.pending == 5
    assert replica.part(torch.tensor([0.75]), 2.0).after == part.number


def test_a_contribution_that_was_not_merged_stays():
    replica, state = make()
    replica.pending = 10
    replica.part(torch.tensor([1.0]), 1.0)
    new = outer_step(state, torch.tensor([-0.5]), PLAIN, 20, {"b": ("x", 1)})
    assert float(replica.adopt(torch.tensor([1.25]), new)) == 0.75
    assert replica.pending == 10
    assert replica.part(torch.tensor([0.75]), 2.0).beside == 20


def test_what_others_merged_meanwhile_is_not_learned_twice():
    replica, state = make()
    replica.pending = 10
    new = outer_step(state, torch.tensor([0.5]), PLAIN, 20, {"b": ("x", 1)})
    assert float(replica.adopt(torch.tensor([1.25]), new)) == 1.25  # 0.5 of it is in the anchor


def test_another_origin_means_starting_from_its_anchor():
    replica, _ = make()
    replica.pending = 10
    other = sealed(torch.tensor([9.0]), torch.zeros(1), round=3, tokens=70, origin="1/b")
    assert float(replica.adopt(torch.tensor([1.25]), other)) == 9.0
    assert replica.pending == 0


def test_not_finite_progress_is_not_offered():
    replica, _ = make()
    assert replica.part(torch.tensor([float("nan")]), 1.0) is None
    assert float(replica.reset()) == 0.0


@given(st.lists(st.sampled_from(["step", "offer", "merge first", "merge last", "others"])))
def test_progress_and_tokens_are_conserved(actions):
    """With plain averaging and one site, anchor + progress is always the sum of all steps."""
    replica, state = make()
    parameters, total, waiting, merged = torch.zeros(1), 0, [], 0
    for action in actions:
        if action == "step":
            parameters, total = parameters + 1.0, total + 1
            replica.pending += 1
        elif action == "offer":
            waiting.append(replica.part(parameters, 0.0))
        elif action == "others":
            state = outer_step(state, torch.zeros(1), PLAIN, 0, {"b": ("x", 1)})
            parameters = replica.adopt(parameters, state)
        elif usable := [p for p in waiting[-4:] if p.after == merged]:
            part = usable[0] if action == "merge first" else usable[-1]
            merged, mine = part.number, {"a": ("r1", part.number)}
            state = outer_step(state, part.progress, PLAIN, part.tokens, mine)
            parameters = replica.adopt(parameters, state)
        assert float(parameters) == total
        assert state.tokens + replica.pending == total


@given(st.sampled_from(["int8", "int4", "int2"]), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_what_a_codec_drops_is_owed_and_comes_later(name, seed):
    """anchor + what is owed + progress stays the sum of all steps, however coarse the codec."""
    chance = torch.Generator().manual_seed(seed)
    state = fresh(torch.zeros(300), "0/a")
    replica = Replica("a", "r1", state, 0.0)
    parameters, total = state.anchor.clone(), torch.zeros(300)
    for _ in range(30):
        step = torch.randn(300, generator=chance)
        parameters, total = parameters + step, total + step
        part = replica.part(parameters, 0.0)
        part.to_message(name)
        state = outer_step(state, part.arrived, PLAIN, 1, {"a": ("r1", part.number)})
        parameters = replica.adopt(parameters, state)
    torch.testing.assert_close(state.anchor + replica.owed, total, atol=1e-3, rtol=1e-3)
    assert torch.equal(parameters, state.anchor)  # trains on from the common place


def test_what_is_learned_again_and_again_does_not_add_up_for_ever():
    """A site that sends little of what it learned learns the rest again: sparse forgets some."""
    chance = torch.Generator().manual_seed(1)
    learned = torch.randn(4096 * 4, generator=chance)
    state = fresh(torch.zeros(learned.numel()), "0/a")
    replica = Replica("a", "r1", state, 0.0)
    for _ in range(100):
        part = replica.part(state.anchor + 0.01 * learned, 0.0)  # the same from each new anchor
        part.to_message("sparse")
        state = outer_step(state, part.arrived, PLAIN, 1, {"a": ("r1", part.number)})
        replica.adopt(state.anchor + 0.01 * learned, state)
    most = float(replica.owed.abs().max()) / 0.01
    assert most < 10 * float(learned.abs().max())
    last = replica.part(state.anchor + 0.01 * learned, 0.0, last=True)
    torch.testing.assert_close(last.progress, 0.01 * learned, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("tokens", "missing"), [(0, 1.0), (25, 0.75), (100, 0.0), (300, 0.0)])
def test_what_sparse_dropped_is_not_lost_where_the_last_round_is_short(tokens, missing):
    """As much of it as the site has not had the time to learn again."""
    learned = torch.randn(4096, generator=torch.Generator().manual_seed(1))
    state = fresh(torch.zeros(4096), "0/a")
    replica = Replica("a", "r1", state, 0.0)
    replica.pending = 100
    part = replica.part(learned, 0.0)
    part.to_message("sparse")
    new = outer_step(state, part.arrived, PLAIN, 100, {"a": ("r1", part.number)})
    parameters = replica.adopt(learned, new)
    replica.pending = tokens
    last = replica.part(parameters, 1.0, last=True)
    dropped = learned * (part.arrived == 0.0)
    torch.testing.assert_close(last.progress, missing * dropped)


def test_a_deviation_that_mended_itself_is_not_mended_again():
    correction = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    apart = torch.tensor([-0.4, 0.4, 5.0, 0.0])
    assert mended(correction, apart).tolist() == pytest.approx([-0.4, 0.0, 1.0, 0.0])


def test_an_average_that_comes_late_does_not_turn_a_deviation_round():
    """Two sites, at +1 and -1 of a value whose own steps take it back to 0 at once."""
    replica, state = make()
    replica.pending = 10
    part = replica.part(torch.tensor([1.0]), 1.0)
    replica.pending += 5
    new = outer_step(state, torch.tensor([0.0]), PLAIN, 20, {"a": ("r1", part.number)})
    assert float(replica.adopt(torch.tensor([0.0]), new)) == 0.0


def test_what_was_merged_in_a_branch_that_is_given_up_is_owed_again():
    """Two sites led at once, as they did not see each other; the state of the other one stays."""
    replica, state = make()
    replica.pending = 10
    part = replica.part(torch.tensor([1.0]), 1.0)
    mine = outer_step(state, part.progress, PLAIN, 10, {"a": ("r1", part.number)})
    parameters = replica.adopt(torch.tensor([1.5]), mine)
    assert (float(parameters), replica.pending) == (1.5, 0)
    theirs = outer_step(state, torch.tensor([0.0]), PLAIN, 99, {"b": ("x", 1)})
    parameters = replica.adopt(parameters, theirs)
    assert (float(parameters), replica.pending) == (1.5, 10)
    again = replica.part(parameters, 2.0)
    assert (float(again.progress), again.tokens, again.after) == (1.5, 10, 0)


def test_two_histories_that_merged_overlapping_contributions_count_no_step_twice():
    """Both leaders were called for the same base: each contribution holds the earlier one."""
    replica, state = make()
    replica.pending = 10
    first = replica.part(torch.tensor([1.0]), 1.0)
    replica.pending += 5
    second = replica.part(torch.tensor([1.5]), 2.0)
    short, long = (
        outer_step(state, part.progress, PLAIN, part.tokens, {"a": ("r1", part.number)})
        for part in (first, second)
    )
    parameters = torch.tensor([1.5])
    for newer, pending in ((short, 5), (long, 0), (short, 5), (state, 15), (long, 0)):
        parameters = replica.adopt(parameters, newer)
        assert (float(parameters), replica.pending) == (1.5, pending)


MOVES = st.lists(st.tuples(st.sampled_from(["step", "offer", "merge", "go"]), st.integers(0, 99)))


@given(MOVES)
def test_whichever_histories_follow_each_other_every_step_is_there_once(moves):
    """Any state that ever was may be taken over, and any contribution that fits may be merged."""
    replica, state = make()
    parameters, total, parts, histories = torch.zeros(1), 0, [], [state]
    for move, which in moves:
        if move == "step":
            parameters, total = parameters + 1.0, total + 1
            replica.pending += 1
        elif move == "offer":
            parts.append(replica.part(parameters, 0.0))
        elif move == "merge":
            base = histories[which % len(histories)]
            for part in [part for part in parts if fits(part, "a", base)][-2:]:
                mine = {"a": ("r1", part.number)}
                histories.append(outer_step(base, part.progress, PLAIN, part.tokens, mine))
        else:
            state = histories[which % len(histories)]
            parameters = replica.adopt(parameters, state)
        assert float(parameters) == pytest.approx(total, abs=1e-4)
        assert state.tokens + replica.pending == total


def test_a_dropped_contribution_is_owed_to_no_history():
    replica, state = make()
    replica.pending = 10
    part = replica.part(torch.tensor([1.0]), 1.0)
    replica.reset()
    mine = outer_step(state, part.progress, PLAIN, 10, {"a": ("r1", part.number)})
    replica.pending = 3
    parameters = replica.adopt(torch.tensor([-0.5]), mine)
    assert (float(parameters), replica.pending) == (0.5, 3)
    assert (float(replica.adopt(parameters, state)), replica.pending) == (-0.5, 3)


def test_few_vectors_are_kept_and_the_oldest_are_forgotten():
    replica, state = make()
    parameters, total = torch.zeros(1), 0
    for _ in range(100):
        parameters, total = parameters + 1.0, total + 1
        replica.pending += 1
        part = replica.part(parameters, 0.0)
        state = outer_step(state, part.progress, PLAIN, 1, {"a": ("r1", part.number)})
        parameters = replica.adopt(parameters, state)
        spans = replica._ledger.spans
        assert len(spans) <= VECTORS
        assert sum(len(span.pieces) for span in spans) <= VECTORS * TOGETHER
    for number in (99, 96, 92, 85):
        earlier = sealed(
            torch.tensor([float(number)]),
            torch.zeros(1),
            round=number,
            tokens=number,
            origin="0/a",
            merged={"a": ("r1", number)},
        )
        assert float(replica.adopt(parameters, earlier)) == 100.0
        assert replica.pending == 100 - number


def test_a_run_that_resumed_gives_up_what_its_earlier_run_has_delivered():
    _, state = make()
    before = outer_step(state, torch.tensor([1.0]), PLAIN, 10, {"a": ("r0", 3)})
    for number, kept in ((3, True), (4, False)):
        replica = Replica("a", "r1", before, 0.0, pending=7)
        newer = outer_step(before, torch.tensor([0.5]), PLAIN, 7, {"a": ("r0", number)})
        parameters = replica.adopt(torch.tensor([1.5]), newer)
        assert replica.pending == (7 if kept else 0)
        assert kept or float(parameters) == float(newer.anchor)


def test_a_contribution_of_an_earlier_snapshot_has_its_tokens_only():
    replica, _ = make()
    replica.pending = 10
    snapshot = torch.tensor([1.0])
    replica.pending += 5
    part = replica.part(snapshot, 1.0, since=5)
    assert (part.tokens, float(part.progress)) == (10, 1.0)
