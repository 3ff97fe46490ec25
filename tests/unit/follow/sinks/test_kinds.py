"""Which sinks there are for a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from anetcon.config import model
from anetcon.follow.settings import Settings
from anetcon.follow.sinks import kinds
from tests.support.records import Making, start


def test_every_type_that_can_be_configured_is_made() -> None:
    """And no other; no sink can have the name of the text logs' position."""
    (kind,) = [setting for setting in model.sink_settings() if setting.key == "type"]
    assert set(kinds.KINDS) == set(get_args(get_args(kind.annotation)[0]))
    assert kinds.TEXT == model.TEXT_LOGS


def test_what_is_configured_is_made(tmp_path: Path) -> None:
    """The text logs, if they are wanted, and each sink by its name, with a place of its own."""
    wanted = {"siem": {"type": "json", "form": "anetcon", "to": f"file:{tmp_path}/out/a.json"}}
    settings = Settings(tmp_path, "gw1", folder=tmp_path / "log", sinks=wanted)
    Making(tmp_path).add(start()).close()
    found = {each.name: each for each in kinds.configured(settings)}
    assert {each.name: each.title for each in found.values()} == {"text": "text logs", "siem": "sink siem"}
    for each in found.values():
        follower = each.make()
        while follower.step():
            pass
        follower.stop()
    assert (tmp_path / "out" / "a.json").read_text().count("\n") == 1
    assert (tmp_path / "log" / "anetcon.nat.log").read_text().count("\n") == 1
    assert {path.name for path in (tmp_path / "followers").glob("*.json")} == {"text.json", "siem.json"}
    assert list(kinds.configured(Settings(tmp_path, "gw1", logs=False))) == []
