"""How many neighbours may begin, and what is told of the rest."""

from __future__ import annotations

from anetcon.capture import flood
from anetcon.capture.flood import Flood, Passed

T = 1_790_000_000_000_000


def test_a_flood_is_counted() -> None:
    """On each interface as many as are allowed begin in a minute; the others are counted, with their first and last
    time, and told once the minute is over. One that goes on is told seldom, with all that were passed over since."""
    made, begin = Flood(), 5
    for minute in range(flood.TELL // flood.MINUTE + 1):
        at, steady = T + minute * flood.MINUTE, begin + minute * flood.MINUTE
        assert all(made.allows(2, at) for _ in range(flood.MOST))
        assert [made.allows(2, at + n) for n in (1, 5, 9)] == [False] * 3
        assert made.allows(3, at)
        assert made.over(steady) == ([], False)
        assert made.over(steady + flood.MINUTE - 1) == ([], False)
        told, again = made.over(steady + flood.MINUTE)
        assert again
        expected = {0: [Passed(2, 3, T + 1, T + 9)]}
        expected[flood.TELL // flood.MINUTE] = [Passed(2, 30, T + flood.MINUTE + 1, at + 9)]
        assert told == expected.get(minute, [])


def test_one_that_is_over_is_forgotten() -> None:
    """What was passed over after it was told of is told when nothing more comes; then nothing is kept. The wall clock
    may say what it will meanwhile."""
    made = Flood()
    for minute, at in enumerate((T, T - flood.TELL)):
        assert [made.allows(2, at) for _ in range(flood.MOST + 1)][-1] is False
        made.over(minute * flood.MINUTE)
        made.over((minute + 1) * flood.MINUTE)
    said = [made.over(n * flood.MINUTE) for n in range(3, 30)]
    assert [told for told, _ in said if told] == [[Passed(2, 1, T - flood.TELL, T - flood.TELL)]]
    assert not any(again for _, again in said)
    assert made._minutes == {}


def test_at_the_end() -> None:
    """What was passed over is told, though the minute is not over."""
    made = Flood()
    assert [made.allows(2, T) for _ in range(flood.MOST + 2)][-1] is False
    assert made.end() == [Passed(2, 2, T, T)]
    assert made.end() == []
