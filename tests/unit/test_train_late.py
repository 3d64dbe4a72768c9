"""The model that comes out is the average of the last anchors."""

import pytest
import torch

from skep.errors import InputError
from skep.runenv import from_environ
from skep.train.late import SHARE, Late
from skep.train.lead import Lead, Options
from skep.train.outer import PLAIN, Outer, OuterState
from skep.train.settings import settings
from tests.train_network import Network


def state(number, value, origin="a"):
    return OuterState(torch.full((2,), value), torch.zeros(2), round=number, origin=origin)


def after(rounds, share=0.1, every=1):
    """With anchors of 1, 2, 3, ... of which every so manieth was seen."""
    late = Late(share)
    for number in range(every, rounds + 1, every):
        late.saw(state(number, float(number)))
    return late


def test_in_short_runs_it_is_the_last_anchor():
    late = after(9)
    average = torch.full((2,), 0.25)
    assert late.mean.tolist() == [9.0, 9.0]
    assert late.instead(state(9, 9.0), average) is average


def test_it_lags_behind_by_a_share_of_the_rounds():
    """Anchors that grow by 1 a round: the mean is behind by its own length in rounds."""
    assert after(1000).mean[0] == pytest.approx(1000 * (1 - 0.1), rel=0.02)
    assert after(4000).mean[0] == pytest.approx(4000 * (1 - 0.1), rel=0.02)


def test_a_share_of_nothing_is_the_last_anchor_alone():
    late, average = after(1000, share=0.0), torch.ones(2)
    assert late.mean.tolist() == [1000.0, 1000.0]
    assert late.instead(state(1000, 1000.0), average) is average


def test_it_takes_away_what_anchors_wander_about():
    chance = torch.Generator().manual_seed(1)
    late = Late(0.1)
    for number in range(1, 2001):
        anchor = 5.0 + torch.randn(64, generator=chance)
        late.saw(OuterState(anchor, torch.zeros(64), round=number))
    assert (late.mean - 5.0).square().mean() < 0.02


def test_a_site_that_was_away_for_long_has_not_kept_the_old_ones():
    late = after(100)
    late.saw(state(1000, 1000.0))
    assert late.mean[0] > 990.0
    late = after(1000, every=4)
    assert float(late.mean[0]) == pytest.approx(float(after(1000).mean[0]), rel=0.01)


def test_other_initial_parameters_begin_anew():
    late = after(1000)
    late.saw(state(1001, 3.0, origin="b"))
    assert late.mean.tolist() == [3.0, 3.0]


def test_in_the_last_round_the_mean_of_all_anchors_is_where_the_anchor_goes():
    late, base = after(1000), state(1000, 1000.0)
    average = torch.ones(2)  # so that the last anchor is 1001
    aim = base.anchor + late.instead(base, average)
    late.saw(state(1001, 1001.0))
    torch.testing.assert_close(aim, late.mean)


@pytest.mark.parametrize(
    ("outer", "given", "share"),
    [(None, None, SHARE), (PLAIN, None, 0.0), (PLAIN, 0.1, 0.1), (Outer(0.7, 0.9), None, 0.0)],
)
def test_who_sets_the_outer_step_gets_no_more_than_that(outer, given, share):
    assert Lead(Options(outer=outer, average_last=given)).late.share == share


@pytest.mark.parametrize("wrong", [-0.1, 1.5, float("nan")])
def test_what_is_no_share_is_refused(wrong):
    with pytest.raises(InputError, match="allowed: a share from 0 to 1"):
        settings(from_environ({}), 1, average_last=wrong)


def test_all_sites_end_on_the_same_mean_whoever_leads():
    options = Options(outer=PLAIN, codec="fp32", interval=0.2, average_last=0.2)
    network = Network("a", "b", "c", count=3, options=options)
    network.run(20.0)
    network.kill("b")
    network.run(1.0)
    network.add("b", 1, attempt=2)
    network.run(4.0)
    network.settle()
    assert len(network.digests()) == 1
    rounds = network.state().round
    anchor = float(network.state().anchor[0])
    steps = max(site.steps for site in network.sites.values())  # a anchor grows by 1 a step
    assert 0.1 * rounds < (steps - anchor) / 2 < 0.25 * rounds  # two steps a round
