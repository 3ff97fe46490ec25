"""The keeper's command line, and its last step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from anetcon.keeper.main import Keeper, Options


def test_options_of_run_come_after_two_dashes() -> None:
    """What follows `--` is kept for resolving the settings again, and survives a replacement in place."""
    options = Options(["--settings", "5", "--follow", "some.module", "--", "-c", "file", "--store", "there"])
    assert options.settings == 5
    assert options.state is None
    assert options.capture == "anetcon.capture.main"
    assert options.rest == ["-c", "file", "--store", "there"]
    again = Options(["--settings", "6", "--state", "7", *options.again()])
    assert again.state == 7
    assert again.follow == "some.module"
    assert again.rest == options.rest


def test_the_log_is_ended_once() -> None:
    """Its last lines are waited for, however many turns they take: a second stop would end the keeper at once."""
    stops: list[object] = []
    keeper: Any = SimpleNamespace(_ended=False, log=SimpleNamespace(stop=stops.append), loop=SimpleNamespace(stop=None))
    for _ in range(3):
        Keeper._end(keeper)
    assert len(stops) == 1
