"""Who speaks for a site when reports come late, twice, or from agents that are gone."""

from __future__ import annotations

from skep.control.speaking import REMEMBERED, Speakers
from skep.model.message import Report


def said(agent: str, number: int, known: int = -1) -> Report:
    return Report(agent=agent, number=number, known=known)


def heard(speakers: Speakers, report: Report, revision: int) -> tuple[bool, int]:
    """Whether it counted, and the revision that is answered."""
    if not speakers.counts("ash", report, revision):
        return False, revision
    return True, revision + speakers.took("ash", report, revision)


def test_what_was_overtaken_does_not_count() -> None:
    speakers = Speakers()
    assert heard(speakers, said("a", 2), 7) == (True, 7)
    assert heard(speakers, said("a", 1), 7) == (False, 7)
    assert heard(speakers, said("a", 2), 7) == (True, 7)


def test_a_new_agent_takes_over_and_late_words_of_the_old_one_do_not_count() -> None:
    speakers = Speakers()
    assert heard(speakers, said("a", 1), 7) == (True, 7)
    assert heard(speakers, said("a", 5, known=7), 7) == (True, 7)
    assert heard(speakers, said("b", 1), 7) == (True, 8)
    assert heard(speakers, said("a", 6, known=7), 8) == (False, 8)
    assert heard(speakers, said("b", 2, known=8), 8) == (True, 8)


def test_the_first_word_of_an_agent_that_is_gone_silences_nobody_for_long() -> None:
    speakers = Speakers()
    assert heard(speakers, said("b", 1), 7) == (True, 7)
    assert heard(speakers, said("a", 1), 7) == (True, 8)  # it was on its way since before b
    assert heard(speakers, said("b", 2, known=7), 8) == (False, 8)
    assert heard(speakers, said("b", 3, known=99), 8) == (False, 8)  # nobody answered that here
    assert heard(speakers, said("b", 4, known=8), 8) == (True, 9)
    assert heard(speakers, said("a", 2), 9) == (False, 9)
    assert heard(speakers, said("b", 5, known=9), 9) == (True, 9)


def test_of_two_that_are_alive_the_later_one_speaks() -> None:
    speakers = Speakers()
    revision = heard(speakers, said("a", 1), 7)[1]
    revision = heard(speakers, said("b", 1), revision)[1]
    assert heard(speakers, said("b", 2, known=revision), revision) == (True, revision)
    for number in range(2, 9):
        assert heard(speakers, said("a", number, known=revision), revision) == (False, revision)


def test_only_the_last_former_agents_are_remembered() -> None:
    speakers, revision = Speakers(), 0
    for row in range(REMEMBERED + 2):
        revision = heard(speakers, said(f"agent-{row}", 1), revision)[1]
    assert not speakers.counts("ash", said("agent-1", 2), revision)
    assert speakers.counts("ash", said("agent-0", 2), revision)
