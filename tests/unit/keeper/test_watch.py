"""What the watch says when it cannot look; what it finds is tested where there are namespaces (tests/netns)."""

from __future__ import annotations

from typing import Any, cast

import pytest

from anetcon.keeper import legacy
from anetcon.keeper.namespaces import Found
from anetcon.keeper.roster import Audited
from anetcon.keeper.watch import Watch, _Watched


def test_tables_that_may_not_be_read_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that cannot see rules of iptables-legacy says so, and does not claim to have looked."""

    def refuse(*_: object) -> list[legacy.Target]:
        raise PermissionError(13, "Permission denied", "/proc/self/net/ip_tables_names")

    monkeypatch.setattr(legacy, "targets", refuse)
    said: list[str] = []
    nothing = cast("Any", None)
    watch = Watch(nothing, nothing, lambda _: None, lambda _: None, said.append)
    watched = _Watched(nothing, seen=7)
    for _ in range(3):
        watch._look_legacy(Audited("a", Found(1, newborn=False)), watched)
    assert len(said) == 1
    assert "as root or in group root" in said[0]
    assert watched.legacy_seen == 7
