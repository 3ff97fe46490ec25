"""The keeper's last step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from anetcon.keeper.main import Keeper, Phase


def test_the_log_is_ended_once() -> None:
    """Its last lines are waited for, however many turns they take: a second stop would end the keeper at once."""
    stops: list[object] = []
    host = SimpleNamespace(loop=SimpleNamespace(stop=None))
    keeper: Any = SimpleNamespace(phase=Phase.STOPPING, log=SimpleNamespace(stop=stops.append), host=host)
    for _ in range(3):
        Keeper._end(keeper)
    assert len(stops) == 1
