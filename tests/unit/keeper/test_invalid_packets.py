"""What is told of packets that are invalid, look by look."""

from __future__ import annotations

from typing import Any, cast

import pytest

from anetcon.keeper import invalid_packets
from anetcon.keeper.invalid_packets import InvalidPackets
from anetcon.keeper.namespaces import Seen
from anetcon.link.messages import Invalid
from anetcon.rules import invalid_sample

NOTHING = cast("Any", None)
OLD, NEW = (Seen(1, newborn=newborn, noticed=50) for newborn in (False, True))


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading takes no time, and ends at 1000."""
    monkeypatch.setattr(invalid_packets, "now_us", lambda: 1000)


def test_they_are_told_from_the_look_before() -> None:
    """Nothing is told of those before the first look, nor when none came; a new capture is told of the last again."""
    invalid = InvalidPackets()
    assert invalid.look(3, 7, 100, OLD, NOTHING) is None
    assert invalid.look(3, 7, 200, OLD, NOTHING) is None
    assert invalid.again(3) is None
    assert invalid.look(3, 9, 300, OLD, NOTHING) == Invalid(3, 200, 1000, 2)
    assert invalid.again(3) == Invalid(3, 200, 1000, 0)


def test_those_of_a_namespace_that_is_new_are_told_from_its_birth() -> None:
    """The first look finds what came before it."""
    assert InvalidPackets().look(3, 7, 100, NEW, NOTHING) == Invalid(3, 50, 1000, 7)


def test_the_count_goes_on_in_another_program() -> None:
    """Also where the kernel's has 32 bits and begins anew."""
    invalid = InvalidPackets()
    invalid.restore(2**32 - 1, 80, (60, 70), {})
    assert invalid.again(3) == Invalid(3, 60, 70, 0)
    assert invalid.look(3, 1, 100, OLD, NOTHING) == Invalid(3, 80, 1000, 2)


def test_those_that_left_are_counted_where_a_rule_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Since the look before; a rule that somebody wrote anew counts from zero, one that is taken away no more."""
    counts: dict[str, list[int | None]] = {"ip": [5, 2, None], "ip6": [0, 0, 1]}
    monkeypatch.setattr(invalid_sample, "left", lambda _, family: counts[family].pop(0))
    invalid = InvalidPackets()
    invalid.learn(["ip", "ip6", "else"])
    assert (invalid.is_tracked("ip"), invalid.is_tracked("else")) == (True, False)
    invalid.left.update(ip=0, ip6=0)
    told = [invalid.look(3, 0, now, OLD, NOTHING) for now in (100, 200, 300)]
    assert [each and each.left for each in told] == [5, 2, 1]
    assert invalid.left == {"ip6": 1}
