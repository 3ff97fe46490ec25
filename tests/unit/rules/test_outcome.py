"""What a visit found travels as one line of JSON."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anetcon.rules.outcome import VisitOutcome


@given(st.text(), st.text(), st.dictionaries(st.sampled_from(["4", "6", "inet"]), st.lists(st.text())))
def test_nothing_is_lost_on_the_way(error: str, note: str, spelling: dict[str, list[str]]) -> None:
    """Whatever it holds, it is one line, and the same afterwards."""
    outcome = VisitOutcome(error=error, spelling=spelling)
    outcome.wrote(note)
    line = outcome.line()
    assert b"\n" not in line
    assert vars(VisitOutcome.of(line)) == vars(outcome)
    assert outcome.repaired is not None
