"""Every kind of constraint, said in words."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import pytest
from pydantic import Field, TypeAdapter

from skep.errors import InputError
from skep.files.problems import check, field_name, printable
from skep.model.base import Name, Seconds, Spec, Watts


class Inner(Spec):
    count: int = Field(default=1, ge=1)
    kind: str = ""


class Outer(Spec):
    name: Name = "a"
    least: int = Field(default=1, ge=1)
    between: int = Field(default=0, ge=-1000, le=1000)
    most: int = Field(default=0, le=5)
    huge: int = Field(default=1, ge=1, le=100_000_000)
    share: float = Field(default=0.5, ge=0, lt=1)
    inside: float = Field(default=0.5, gt=0, lt=1)
    above: float = Field(default=1.0, gt=0)
    number: float = 0.0
    whole: int | None = None
    choice: Literal["one", "two", "three"] = "one"
    only: Literal["this"] = "this"
    yes: bool = False
    text: str = Field(default="x", min_length=1)
    short: str = Field(default="x", max_length=3)
    country: str = Field(default="SE", pattern=r"^[A-Z]{2}$")
    other: str = Field(default="", pattern=r"^z*$")
    day: datetime.date | None = None
    power: Watts = 0.0
    wait: Seconds = Field(default=1.0, gt=0)
    limit: Seconds | None = Field(default=None, gt=0)
    pair: tuple[Name, Name] = ("a", "b")
    rows: tuple[Inner, ...] = Field(default=(Inner(),), min_length=1)
    names: tuple[str, ...] = ()
    inner: Inner = Inner()
    env: dict[str, str] = Field(default_factory=dict)
    union: int | list[int] = 1


class Needs(Spec):
    name: Name
    size: int = Field(ge=1)


def said(**fields: object) -> str:
    with pytest.raises(InputError) as caught:
        check(Outer, fields, source="f.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("least", -3, "least: got -3; allowed: a whole number of 1 or more"),
        ("least", "3", "least: got '3'; allowed: a whole number of 1 or more"),
        ("least", 1.5, "least: got 1.5; allowed: a whole number of 1 or more"),
        ("least", True, "least: got True; allowed: a whole number of 1 or more"),
        ("least", None, "least: got None; allowed: a whole number of 1 or more"),
        ("between", 1001, "between: got 1001; allowed: a whole number from -1,000 to 1,000"),
        ("most", 6, "most: got 6; allowed: a whole number of at most 5"),
        ("huge", 0, "huge: got 0; allowed: a whole number of 1 or more"),
        ("huge", 10**9, "huge: got 1000000000; allowed: a whole number from 1 to 100,000,000"),
        ("share", 1, "share: got 1; allowed: a number of 0 or more and below 1"),
        ("inside", 0, "inside: got 0; allowed: a number above 0 and below 1"),
        ("above", 0, "above: got 0; allowed: a number above 0"),
        ("number", "x", "number: got 'x'; allowed: a number"),
        ("whole", "x", "whole: got 'x'; allowed: a whole number"),
        ("choice", "on", "choice: got 'on'; allowed: 'one', 'two' or 'three'"),
        ("only", 3, "only: got 3; allowed: 'this'"),
        ("yes", "no", "yes: got 'no'; allowed: true or false"),
        ("text", "", "text: got ''; allowed: text, not empty"),
        ("text", 3, "text: got 3; allowed: text, not empty"),
        ("short", "abcd", "short: got 'abcd'; allowed: text of 0 to 3 characters"),
        (
            "name",
            "a b",
            "name: got 'a b'; allowed: 1 to 64 letters, digits and . _ - "
            "(a letter or digit first and last)",
        ),
        (
            "country",
            "se",
            "country: got 'se'; "
            "allowed: a country's two capital letters (ISO 3166-1), such as 'SE'",
        ),
        ("other", "y", "other: got 'y'; allowed: text of the pattern ^z*$"),
        ("day", "soon", "day: got 'soon'; allowed: a date such as '2026-01-31'"),
        ("power", "10 V", "power: got '10 V'; allowed: a power such as '400 W' or '1.5 MW'"),
        (
            "power",
            -1,
            "power: got -1; allowed: a power such as '400 W' or '1.5 MW', zero or more and finite",
        ),
        ("wait", 0, "wait: got 0; allowed: a number above 0 or text such as '2h30m'"),
        ("limit", "0s", "limit: got '0s'; allowed: a number above 0 or text such as '2h30m'"),
        (
            "pair",
            ["a"],
            "pair[1]: got nothing; allowed: 1 to 64 letters, digits and . _ - "
            "(a letter or digit first and last) (required)",
        ),
        (
            "pair",
            ["a", "b", "c"],
            "pair: got ['a', 'b', 'c']; allowed: a list of 2, each 1 to 64 letters, digits and "
            ". _ - (a letter or digit first and last)",
        ),
        (
            "rows",
            [],
            "rows: got []; allowed: a list of 1 or more, each a mapping with count or kind",
        ),
        ("rows", [{}, {"count": 0}], "rows[1].count: got 0; allowed: a whole number of 1 or more"),
        ("names", "a", "names: got 'a'; allowed: a list of any number, each text"),
        ("inner", 3, "inner: got 3; allowed: a mapping with count or kind"),
        (
            "inner",
            {"cuont": 1},
            "inner.cuont: got 1; no such field (did you mean 'count'?); allowed: count, kind",
        ),
        ("env", {"A": 1}, "env.A: got 1; allowed: text"),
        ("env", [], "env: got []; allowed: a mapping of names to text"),
    ],
)
def test_each_kind_of_constraint_is_said_in_words(field: str, value: object, line: str) -> None:
    assert said(**{field: value}) == f"f.yaml: {line}"


def test_a_missing_field_says_what_belongs_there() -> None:
    with pytest.raises(InputError) as caught:
        check(Needs, {"name": "a"}, source="f.yaml")
    assert str(caught.value) == (
        "f.yaml: size: got nothing; allowed: a whole number of 1 or more (required)"
    )


def test_the_first_problem_is_told_and_the_others_are_counted() -> None:
    assert said(least=0, yes=3).endswith("1 or more (and 1 more problem)")
    assert said(least=0, yes=3, day=4).endswith("1 or more (and 2 more problems)")


def test_a_list_whose_only_item_is_wrong_is_one_problem() -> None:
    assert "more problem" not in said(rows=[{"count": 0}])


def test_fields_and_values_of_any_kind_stay_on_one_short_line() -> None:
    wild = {"a\nb": 1, "x" * 5000: 2, "c\x1b": "d" * 5000}
    with pytest.raises(InputError) as caught:
        check(Outer, wild, source="f\n.yaml")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


def test_large_values_are_named_by_their_size() -> None:
    assert "got a list of 1000;" in said(least=[0] * 1000)
    assert "got a mapping of 1000 fields;" in said(least={str(n): 0 for n in range(1000)})


@pytest.mark.parametrize(
    ("loc", "name"),
    [
        ((), "file"),
        (("a",), "a"),
        (("a", 0, "b"), "a[0].b"),
        (("a", "b\n"), "a['b\\\\n']"),
    ],
)
def test_field_names(loc: tuple[int | str, ...], name: str) -> None:
    assert field_name(loc) == name


def test_printable_escapes_and_cuts() -> None:
    assert printable("a\x1b[1m\u202e") == "a\\x1b[1m\\u202e"
    assert len(printable("x" * 5000)) == 200


def test_other_models_can_be_checked_too() -> None:
    counts = TypeAdapter(Annotated[int, Field(ge=1)])
    assert counts.validate_python(1) == 1
    assert check(Inner, {"count": 2}) == Inner(count=2)
