"""Pool files: what the fields say together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skep.errors import InputError
from skep.files.pool import SURE_SUN, SURE_WIND, default_pool, load_pool, resolve_chips
from skep.files.supply import load_tables
from skep.model.site import Place, Pool
from skep.model.supply import Sun, Supply, Wind
from skep.power.series import computed_supply

CHIP = "chips: [{kind: core, idle_power: 2 W, busy_power: 10 W}]\n"
HEAD = CHIP + "sites:\n  - {name: a, pools: [{chip: core, chips_per_node: 4}]}\n"
NAMES = "allowed: 1 to 64 letters, digits and . _ - (a letter or digit first and last)"


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str) -> Pool:
    Path("pool.yaml").write_text(text)
    return load_pool("pool.yaml")


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        load(text)
    return str(caught.value)


def site(power: str, place: str = "") -> str:
    return (
        f"{CHIP}sites:\n  - name: a\n    pools: [{{chip: core, chips_per_node: 4}}]\n"
        f"    power: {power}\n{place}"
    )


def test_a_small_pool_is_read() -> None:
    pool = load(
        HEAD + "  - {name: b, pools: [{chip: core}]}\nlinks:\n"
        "  - {between: [a, b], bandwidth: 1 Gbit/s, rtt: 50ms, loss: 0.01}\n"
    )
    assert [s.name for s in pool.sites] == ["a", "b"]
    assert pool.links[0].bandwidth == 1e9
    assert pool.links[0].rtt == 0.05
    assert pool.site("a").chips == 4


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            HEAD + "  - {name: a, pools: [{chip: core}]}",
            "sites[1].name: got 'a'; allowed: a name that sites[0] does not have",
        ),
        (HEAD + "relay: nowhere", "relay: got 'nowhere'; allowed: host:port"),
        (
            "chips: [{kind: core}, {kind: core}]\n" + HEAD.removeprefix(CHIP),
            "chips[1].kind: got 'core'; allowed: a name that chips[0] does not have",
        ),
        (
            HEAD + "links: [{between: [a, aa], bandwidth: 1}]",
            "links[0].between[1]: got 'aa'; no such site (did you mean 'a'?); allowed: a",
        ),
        (
            HEAD + "links: [{between: [a, a], bandwidth: 1}]",
            "links[0].between: got ['a', 'a']; allowed: two different sites",
        ),
        (
            HEAD + "  - {name: b, pools: [{chip: core}]}\nlinks:\n"
            "  - {between: [a, b], bandwidth: 1}\n  - {between: [b, a], bandwidth: 2}\n",
            "links[1].between: got ['b', 'a']; "
            "allowed: one link between two sites (links[0] is the first)",
        ),
        (
            HEAD + "links: [{between: [a], bandwidth: 1}]",
            f"links[0].between[1]: got nothing; {NAMES} (required)",
        ),
        (
            HEAD + "links: [{between: [a, b], bandwidth: fast}]",
            "links[0].bandwidth: got 'fast'; allowed: a rate such as '100 Mbit/s'",
        ),
        (
            "sites: [{name: a, pools: [{chip: h100-smx}]}]",
            "sites[0].pools[0].chip: got 'h100-smx'; no such chip kind "
            "(did you mean 'h100-sxm'?); allowed: a kind of skep's catalogue, "
            "or of chips: in this file",
        ),
        (
            site("{cap: 7 W}"),
            "sites[0].power.cap: got '7 W'; "
            "allowed: 8 W or more, what the 4 idle chips of a draw at a PUE of 1",
        ),
        (
            site("{cap: 9 W, pue: 1.2}"),
            "sites[0].power.cap: got '9 W'; "
            "allowed: 9.6 W or more, what the 4 idle chips of a draw at a PUE of 1.2",
        ),
        (
            site("{cap: 9 W, pue: 0.9}"),
            "sites[0].power.pue: got 0.9; allowed: a number of 1 or more",
        ),
        (
            site("{cap: 99 W, supply: {sun: {capacity: 5 W}}}"),
            "sites[0].power.supply.sun: got '5 W'; "
            "allowed: sun only at a site with a place (latitude, longitude, country)",
        ),
        (
            site("{cap: 99 W}", "    place: {latitude: 91, longitude: 0, country: SE}\n"),
            "sites[0].place.latitude: got 91; allowed: a number from -90 to 90",
        ),
        (
            site("{cap: 99 W}", "    place: {latitude: 9, longitude: -181, country: SE}\n"),
            "sites[0].place.longitude: got -181; allowed: a number from -180 to 180",
        ),
        (
            site("{cap: 99 W}", "    place: {latitude: 9, longitude: 1, country: Sweden}\n"),
            "sites[0].place.country: got 'Sweden'; "
            "allowed: a country's two capital letters (ISO 3166-1), such as 'SE'",
        ),
        (
            "sites: []",
            "sites: got []; allowed: a list of 1 or more, each a mapping with name, place, engine, "
            "address, inbound, pools or power",
        ),
        (
            'sites: [{name: "a\\u202eb", pools: [{chip: core}]}]',
            f"sites[0].name: got 'a\\u202eb'; {NAMES}",
        ),
        (
            'sites: [{name: "a\\eb", pools: [{chip: core}]}]',
            "sites[0].name: got 'a\\x1bb'; allowed: text without control characters",
        ),
        (
            site("{cap: 99 W, supply: {file: no.csv}}"),
            "sites[0].power.supply.file: got 'no.csv'; "
            "in it: file: got nothing; allowed: a file that exists",
        ),
    ],
)
def test_refusals(text: str, line: str) -> None:
    assert refusal(text) == f"pool.yaml: {line}"


def test_norway_is_a_country() -> None:
    pool = load(site("{cap: 99 W}", "    place: {latitude: 60, longitude: 10, country: NO}\n"))
    place = pool.sites[0].place
    assert place is not None
    assert place.country == "NO"


def test_a_cap_of_the_idle_draw_is_allowed() -> None:
    assert load(site("{cap: 9.6 W, pue: 1.2}")).sites[0].power is not None


def test_the_pools_own_chips_go_before_the_catalogue() -> None:
    pool = load(
        "chips: [{kind: h100-sxm, busy_power: 1 W}]\n"
        "sites: [{name: a, pools: [{chip: h100-sxm}, {chip: h100-pcie}]}]"
    )
    chips = resolve_chips(pool)
    assert chips["h100-sxm"].busy_power == 1.0
    assert chips["h100-pcie"].peak_flops


def test_this_machine_as_a_pool() -> None:
    pool = default_pool(4)
    assert [(s.name, s.chips) for s in pool.sites] == [("here", 4)]
    assert pool.kinds() == ("cpu-core",)
    assert "cpu-core" in resolve_chips(pool)
    assert default_pool(0).sites[0].chips == 1


def test_a_supply_file_lies_beside_the_pool_file(tmp_path: Path) -> None:
    Path("s.csv").write_text("hour,wind_w\n2026-01-01T00:00,5\n2026-01-01T01:00,6\n")
    pool = load(site("{cap: 99 W, supply: {file: s.csv}}"))
    power = pool.sites[0].power
    assert power is not None
    assert power.supply.file == str(tmp_path / "s.csv")
    start, columns = load_tables(pool)["a"]
    assert start == 1767225600.0
    assert {name: list(column) for name, column in columns.items()} == {"wind_w": [5.0, 6.0]}
    assert load_tables(load(HEAD)) == {}


@pytest.mark.parametrize(
    ("supply", "place", "line"),
    [
        (
            "sun: {capacity: 5 W, capacity_factor: 0.9}",
            "    place: {latitude: 60, longitude: 10, country: SE}\n",
            r"sun\.capacity_factor: got 0\.9; allowed: up to 0\.\d+ here",
        ),
        (
            "wind: {capacity: 5 W, capacity_factor: 0.99}",
            "",
            r"wind\.capacity_factor: got 0\.99; allowed: 0\.001 to 0\.98",
        ),
        (
            "wind: {capacity: 5 W, capacity_factor: 0.0001}",
            "",
            r"wind\.capacity_factor: got 0\.0001; allowed: 0\.001 to 0\.98",
        ),
    ],
)
def test_a_capacity_factor_out_of_reach(supply: str, place: str, line: str) -> None:
    said = refusal(site(f"{{cap: 99 W, supply: {{{supply}}}}}", place))
    assert re.fullmatch(r"pool\.yaml: sites\[0\]\.power\.supply\." + line, said)


@pytest.mark.parametrize(("latitude", "factor"), [(0, 0.4), (60, 0.4), (89, 0.4), (-70, 0.4)])
def test_factors_that_are_taken_unseen_can_be_had(latitude: float, factor: float) -> None:
    place = Place(latitude=latitude, longitude=0, country="SE")
    supply = Supply(sun=Sun(capacity=1, capacity_factor=factor))
    assert factor == SURE_SUN
    assert len(computed_supply(supply, place, 0.0, 1).sun) == 1
    for wind in SURE_WIND:
        series = computed_supply(Supply(wind=Wind(capacity=1, capacity_factor=wind)), None, 0.0, 1)
        assert len(series.wind) == 1


def test_a_pool_of_300_sites_is_read_in_a_moment() -> None:
    rows = [
        f"  - {{name: s{n}, place: {{latitude: 1, longitude: 2, country: SE}}, "
        f"pools: [{{chip: core, nodes: 400, chips_per_node: 8}}], power: {{cap: 1 MW}}}}"
        for n in range(300)
    ]
    assert len(load(CHIP + "sites:\n" + "\n".join(rows)).sites) == 300
