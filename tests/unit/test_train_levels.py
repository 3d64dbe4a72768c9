"""Two levels of reduction: the same average as with one, and what may be merged."""

from dataclasses import replace

import pytest
import torch

from skep.train.bundle import bundle_from
from skep.train.frames import Kind, Message
from skep.train.gateway import Gateway
from skep.train.groups import gateways
from skep.train.lead import Lead, Options
from skep.train.outer import PLAIN, fresh, outer_step
from skep.train.parts import Call, Part, part_from
from skep.train.shelf import Lease, Shelf, Want
from tests.train_network import PLAIN_OPTIONS, Network

NAMES = "abcdefghi"
TWO = replace(PLAIN_OPTIONS, one_level=4)
LENGTH = 500


def contributions(codec="fp32", samples=False):
    """Of unequal sites; one has missed rounds, one trained on nothing."""
    chance = torch.Generator().manual_seed(1)
    parts = {}
    for index, name in enumerate(NAMES):
        tokens, missed = 100 * index, 3 if name == "e" else 0
        want = Want(f"r-{name}", ((10 * index, 10 * index + 5),), 20, 1000) if samples else None
        progress = torch.randn(LENGTH, generator=chance) * 0.01
        part = Part(progress, f"r-{name}", 1, 0, tokens, 1.0, 50 * missed, missed, want)
        parts[name] = part_from(part.to_message(codec), LENGTH)
    return parts


def one_level(state, options, parts):
    lead = Lead(options)
    lead.open(0.0, 0, set(parts), False)
    for name, part in parts.items():
        lead.take(name, part, 1.0)
    assert lead.closes(1.0, {})
    return lead.close(state, 1.0, [])


def two_levels(state, options, parts, owed=None):
    """The same by way of gateways: ``a`` leads."""
    lead = Lead(options)
    lead.open(0.0, 0, set(parts), False)
    brought = {}
    for name, group in gateways(list(NAMES), "a", set(NAMES) - {"a"}, 0).items():
        lead.ask_through(name, group)
        gate = Gateway(options, owed=None if owed is None else owed.get(name))
        call = Call(state.digest, False, tuple(group), 5.0)
        assert gate.open("a", call, set(parts), name, 0.0) == set(group)
        for site in [name, *group]:
            if parts[site].missed or not group:
                lead.take(site, parts[site], 1.0)
                gate.excuse(site)
            else:
                gate.take(site, parts[site], 1.0)
        assert gate.closes(1.0)
        message = gate.close(state, options.codec)
        if message is not None:
            bundle = bundle_from(message, LENGTH)
            assert lead.bring(name, bundle, state, 1.0) == ""
            brought[name] = gate, bundle
    for site in "abc":
        lead.take(site, parts[site], 1.0)
    assert lead.closes(1.0, {})
    return lead.close(state, 1.0, []), brought


def shelf():
    leases = {s: Lease(f"r-{s}", ((10 * i, 10 * i + 10),)) for i, s in enumerate(NAMES)}
    return Shelf(total=1000, cursor=90, leases=leases)


def test_two_levels_give_the_average_of_one():
    state = replace(fresh(torch.zeros(LENGTH), "o"), shelf=shelf())
    options, parts = Options(codec="fp32", outer=PLAIN), contributions(samples=True)
    new, told = one_level(state, options, parts)
    (other, also), brought = two_levels(state, options, parts)
    assert [len(bundle.entries) for _, bundle in brought.values()] == [2, 3]
    assert torch.allclose(new.anchor, other.anchor, rtol=1e-6, atol=1e-9)
    assert (new.tokens, new.merged, new.shelf) == (other.tokens, other.merged, other.shelf)
    assert (told.tokens, told.merged, told.refused) == (also.tokens, also.merged, also.refused)
    assert also.moments[1:2] + also.moments[3:] == pytest.approx(
        told.moments[1:2] + told.moments[3:], rel=1e-5
    )  # all but the pairs, which are those inside the groups
    assert also.moments[2] < told.moments[2]


def test_contributions_without_tokens_count_alike():
    state = fresh(torch.zeros(LENGTH), "o")
    parts = {name: replace(part, tokens=0, missed=0) for name, part in contributions().items()}
    options = Options(codec="fp32", outer=PLAIN)
    new, _ = one_level(state, options, parts)
    (other, _), _ = two_levels(state, options, parts)
    assert torch.allclose(new.anchor, other.anchor, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("codec", ["int4", "int2"])
def test_what_a_gateways_encoding_drops_comes_with_its_next_average(codec):
    """Else each round would be off by as much, and the errors would add up."""
    options, parts = Options(codec=codec, outer=PLAIN), contributions("fp32")
    parts = {name: replace(part, missed=0, beside=0) for name, part in parts.items()}
    exact = one_level(fresh(torch.zeros(LENGTH), "o"), Options(codec="fp32", outer=PLAIN), parts)
    once = exact[0].anchor
    state, owed, off = fresh(torch.zeros(LENGTH), "o"), {}, []
    for number in range(1, 9):
        now = {n: replace(part, number=number, after=number - 1) for n, part in parts.items()}
        (new, _), brought = two_levels(state, options, now, owed)
        for name, (gate, _) in brought.items():
            gate.adopted(new)
            owed[name] = gate.owed
        # the leader owes as well; it is another one each time here, and drops it: not looked at
        state = outer_step(state, torch.zeros(LENGTH), PLAIN, 0, new.merged)
        off.append(sum(b.whole.progress * b.whole.tokens for _, b in brought.values()))
    mean = sum(off) / len(off)
    good = sum(parts[s].progress * parts[s].tokens for s in "defghi")
    assert float((mean - good).norm()) < 0.5 * float((off[0] - good).norm())
    assert float(once.norm()) > 0


def gate_with(parts, state, options=TWO):
    gate = Gateway(options)
    gate.open("a", Call(state.digest, False, ("e", "f"), 5.0), {"a", "e", "f"}, "d", 0.0)
    for site in "def":
        gate.take(site, parts[site], 1.0)
    return gate


def fresh_parts():
    return {n: replace(p, missed=0, beside=0) for n, p in contributions().items()}


def lead_with(state):
    lead = Lead(TWO)
    lead.open(0.0, 0, set("abcdef"), False)
    lead.ask_through("d", ["e", "f"])
    return lead


def test_an_average_that_does_not_fit_is_refused_whole_and_nobody_waits_for_it():
    state = fresh(torch.zeros(LENGTH), "o")
    message = gate_with(fresh_parts(), state).close(state, "fp32")
    stolen = replace(bundle_from(message, LENGTH), lost=("b",))
    for wrong, why in (
        (bundle_from(replace(message, fields=message.fields | {"refused": {"z": "x"}}), LENGTH),
         "z is not of its group"),
        (stolen, "b is not of its group"),
        (replace(stolen, lost=(), entries={"e": replace(fresh_parts()["e"], after=3)}),
         "contribution 1 of e does not follow the one merged last"),
        (replace(stolen, lost=(), entries={"e": contributions(samples=True)["e"]}),
         "contribution 1"),
    ):  # fmt: skip
        lead = lead_with(state)
        at = state
        if why == "contribution 1":
            why = "e trained on samples that are not its own"
        assert lead.bring("d", wrong, at, 1.0) == why
        for site in "abc":
            lead.take(site, fresh_parts()[site], 1.0)
        assert lead.closes(1.0, {})
        new, _ = lead.close(state, 1.0, [])
        assert set(new.merged) == set("abc")
        assert lead.open(2.0, 0, set("abcdef"), False) >= set("def")  # asked anew


def test_an_average_that_exploded_is_kept_out():
    state = fresh(torch.zeros(LENGTH), "o")
    lead = lead_with(state)
    lead.guard.absurd({site: fresh_parts()[site] for site in "bc"})
    good = bundle_from(gate_with(fresh_parts(), state).close(state, "fp32"), LENGTH)
    bad = replace(good, whole=replace(good.whole, progress=good.whole.progress * 1e4))
    assert "is usual" in lead.bring("d", bad, state, 1.0)
    assert lead.bring("d", good, state, 1.0) == ""


def test_an_average_for_an_earlier_anchor_is_not_used():
    state = fresh(torch.zeros(LENGTH), "o")
    lead = lead_with(state)
    later = outer_step(state, torch.ones(LENGTH), PLAIN, 1, {})
    bundle = bundle_from(gate_with(fresh_parts(), state).close(state, "fp32"), LENGTH)
    assert lead.bring("d", bundle, later, 1.0) == ""
    assert lead.bundles == {}


def test_a_contribution_that_comes_both_ways_counts_once():
    state = fresh(torch.zeros(LENGTH), "o")
    lead, parts = lead_with(state), fresh_parts()
    lead.take("e", replace(parts["e"], number=2), 1.0)  # the newer one contains the other
    assert lead.bring("d", bundle_from(gate_with(parts, state).close(state, "fp32"), LENGTH),
                      state, 1.0) == ""  # fmt: skip
    new, result = lead.close(state, 1.0, [])
    assert new.merged["e"] == ("r-e", 1)
    assert result.tokens == sum(parts[site].tokens for site in "def")


def test_what_an_earlier_run_brought_does_not_count_when_it_is_back():
    state = fresh(torch.zeros(LENGTH), "o")
    lead = lead_with(state)
    lead.bring("d", bundle_from(gate_with(fresh_parts(), state).close(state, "fp32"), LENGTH),
               state, 1.0)  # fmt: skip
    lead.rejoined("e", "r-e")
    assert set(lead.bundles) == {"d"}
    lead.rejoined("e", "r2-e")
    assert lead.bundles == {}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (Kind.BUNDLE, {"entries": {"e": [1, 2]}}),
        (Kind.BUNDLE, {"entries": {"e": ["r", 1, 0, -5, 1.0, None]}}),
        (Kind.BUNDLE, {"entries": {"e": ["r", 1, 0, 5, float("inf"), None]}}),
        (Kind.BUNDLE, {"entries": 7}),
        (Kind.BUNDLE, {"codec": "zip"}),
        (Kind.BUNDLE, {"moments": [1.0]}),
        (Kind.BUNDLE, {"lost": 3}),
        (Kind.CALL, {"group": "abc"}),
        (Kind.CALL, {"within": -1.0}),
        (Kind.CALL, {"within": float("nan")}),
    ],
)
def test_what_is_not_of_the_protocol_is_refused(kind, change):
    state = fresh(torch.zeros(LENGTH), "o")
    good = {
        Kind.BUNDLE: gate_with(fresh_parts(), state).close(state, "fp32"),
        Kind.CALL: Call(state.digest, False, ("e",), 1.0).to_message(),
    }[kind]
    network = Network("a", "b", options=TWO)
    bad = Message(kind, good.fields | {"fragment": 0} | change, good.payload)
    with pytest.raises((ValueError, KeyError, TypeError)):
        network.sites["a"].fragments.received("b", bad, 1.0)


# -- on the network ---------------------------------------------------------------------------
