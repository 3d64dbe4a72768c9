"""Reads pool files: ``docs/guides/pool-file.md`` explains each field."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from skep import units
from skep.errors import InputError, nearest
from skep.files.problems import check, field_name, printable
from skep.files.supply import load_supply
from skep.files.yaml import MIB, parse_mapping, read_text
from skep.model.chip import Chip
from skep.model.site import NodePool, Pool, Site
from skep.model.supply import Supply
from skep.power.draw import idle_draw
from skep.power.series import site_supply
from skep.runenv import parse_address

MOST_BYTES = 64 * MIB

# Capacity factors that every place can have: the sun is up for half of a year's hours everywhere.
SURE_SUN, SURE_WIND = 0.4, (0.01, 0.9)


def load_pool(path: str | Path) -> Pool:
    """The pool of the file at ``path``, checked; its supply files are absolute and readable.

    Raises ``InputError``.
    """
    path = Path(path)
    source = printable(str(path))
    pool = check(Pool, parse_mapping(read_text(path, MOST_BYTES), str(path)), source=source)
    check_pool(pool, source)
    return _with_supply_files(pool, path.parent, source)


def default_pool(cores: int) -> Pool:
    """This machine as one site, ``here``, with ``cores`` chips of kind ``cpu-core``."""
    pools = (NodePool(chip="cpu-core", chips_per_node=max(1, cores)),)
    return Pool(name="here", sites=(Site(name="here", pools=pools),))


def resolve_chips(pool: Pool) -> dict[str, Chip]:
    """What is known of each chip kind: the pool's own entries over the catalogue."""
    return {**catalogue(), **{chip.kind: chip for chip in pool.chips}}


def catalogue() -> dict[str, Chip]:
    """The chips that skep knows by itself."""
    from skep.data import catalogue as known

    return dict(known.chips())


def check_pool(pool: Pool, source: str = "") -> None:
    """Check what the fields say together: names, links, kinds, caps. Raises ``InputError``."""
    _once([site.name for site in pool.sites], "sites", "name", source)
    _once([chip.kind for chip in pool.chips], "chips", "kind", source)
    _check_links(pool, source)
    check_relay(pool.relay, "relay", source)
    own = {chip.kind: chip for chip in pool.chips}
    chips = own if own.keys() >= set(pool.kinds()) else resolve_chips(pool)
    for row, site in enumerate(pool.sites):
        _check_kinds(site, row, chips, source)
        _check_cap(site, row, chips, source)
        _check_supply(site, row, source)


def check_relay(relay: str, field: str, source: str = "") -> None:
    """Raises ``InputError`` where it is neither empty nor an address."""
    try:
        if relay:
            parse_address(relay)
    except ValueError:
        raise InputError(field, relay, "allowed: host:port", source=source) from None


def _once(names: list[str], table: str, key: str, source: str) -> None:
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if first.setdefault(name, row) != row:
            allowed = f"allowed: a name that {table}[{first[name]}] does not have"
            raise InputError(field_name((table, row, key)), name, allowed, source=source)


def _check_links(pool: Pool, source: str) -> None:
    names = {site.name for site in pool.sites}
    seen: dict[frozenset[str], int] = {}
    for row, link in enumerate(pool.links):
        for end, name in enumerate(link.between):
            if name not in names:
                raise _no_site(("links", row, "between", end), name, names, source)
        pair = frozenset(link.between)
        problem = "two different sites" if len(pair) == 1 else ""
        if seen.setdefault(pair, row) != row:
            problem = f"one link between two sites (links[{seen[pair]}] is the first)"
        if problem:
            field = field_name(("links", row, "between"))
            raise InputError(field, list(link.between), f"allowed: {problem}", source=source)


def _no_site(loc: tuple[int | str, ...], name: str, names: set[str], source: str) -> InputError:
    allowed = f"no such site{nearest(name, names)}; allowed: {_some(names)}"
    return InputError(field_name(loc), name, allowed, source=source)


def _some(names: set[str], most: int = 12) -> str:
    shown = sorted(names)[:most]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown) + more


def _check_kinds(site: Site, row: int, chips: Mapping[str, Chip], source: str) -> None:
    for place, nodes in enumerate(site.pools):
        if nodes.chip not in chips:
            field = field_name(("sites", row, "pools", place, "chip"))
            allowed = (
                f"no such chip kind{nearest(nodes.chip, chips)}; "
                "allowed: a kind of skep's catalogue, or of chips: in this file"
            )
            raise InputError(field, nodes.chip, allowed, source=source)


def _check_cap(site: Site, row: int, chips: Mapping[str, Chip], source: str) -> None:
    idle = idle_draw(site, chips)
    if site.power is not None and site.power.cap < idle:
        allowed = (
            f"allowed: {units.si(idle, 'W')} or more, what the {site.chips:,} idle chips of "
            f"{site.name} draw at a PUE of {site.power.pue:g}"
        )
        got = units.si(site.power.cap, "W")
        raise InputError(field_name(("sites", row, "power", "cap")), got, allowed, source=source)


def _check_supply(site: Site, row: int, source: str) -> None:
    if site.power is None:
        return
    supply, at = site.power.supply, ("sites", row, "power", "supply")
    if site.place is None and supply.sun is not None:
        allowed = "allowed: sun only at a site with a place (latitude, longitude, country)"
        capacity = units.si(supply.sun.capacity, "W")
        raise InputError(field_name((*at, "sun")), capacity, allowed, source=source)
    if supply.file is None and _far_fetched(supply):
        try:
            site_supply(site, 0.0, 1)
        except InputError as error:
            field = f"{field_name(at)}.{error.field}"
            raise InputError(field, error.value, error.allowed, source=source) from None


def _far_fetched(supply: Supply) -> bool:
    """Whether a capacity factor may be out of reach: looking closely takes a second or two."""
    sun = supply.sun.capacity_factor if supply.sun else None
    wind = supply.wind.capacity_factor if supply.wind else None
    return (sun or 0.0) > SURE_SUN or not SURE_WIND[0] <= (wind or 0.5) <= SURE_WIND[1]


def _with_supply_files(pool: Pool, folder: Path, source: str) -> Pool:
    if not any(site.power and site.power.supply.file for site in pool.sites):
        return pool
    sites = tuple(_with_supply_file(s, row, folder, source) for row, s in enumerate(pool.sites))
    return pool.model_copy(update={"sites": sites})


def _with_supply_file(site: Site, row: int, folder: Path, source: str) -> Site:
    if site.power is None or site.power.supply.file is None:
        return site
    path = (folder / Path(site.power.supply.file).expanduser()).absolute()
    try:
        load_supply(path, source="")
    except InputError as error:
        field = field_name(("sites", row, "power", "supply", "file"))
        allowed = f"in it: {error}"
        raise InputError(field, site.power.supply.file, allowed, source=source) from None
    supply = site.power.supply.model_copy(update={"file": str(path)})
    return site.model_copy(update={"power": site.power.model_copy(update={"supply": supply})})
