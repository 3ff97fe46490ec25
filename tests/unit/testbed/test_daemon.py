"""The settings a daemon under test is given are what was asked for."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from anetcon.errors import AnetconError
from anetcon.testbed.daemon import Daemon, wait_for


def test_settings_are_toml_with_the_callers_over_its_own(tmp_path: Path) -> None:
    """Names become whole-name patterns, everything is written below the folder, further settings are added."""
    daemon = Daemon(tmp_path, ["one", "two"], {"store": {"seal_minutes": 0.5}, "logs": {"enabled": False}})
    settings = tomllib.loads(daemon.settings.read_text())
    assert settings["audit"] == {"namespaces": ["^one$", "^two$"]}
    assert settings["store"] == {"path": str(tmp_path / "store"), "seal_minutes": 0.5}
    assert settings["logs"] == {"dir": str(tmp_path / "log"), "enabled": False}


def test_a_daemon_that_was_not_started_has_no_process(tmp_path: Path) -> None:
    """Stopping it does nothing; asking for its process is an error."""
    daemon = Daemon(tmp_path, [])
    assert daemon.stop() is None
    with pytest.raises(AnetconError, match="not started"):
        _ = daemon.process


def test_waiting_ends_with_a_sentence() -> None:
    """What did not happen in time is named."""
    with pytest.raises(AnetconError, match=r"not within 0\.01 s: pigs fly"):
        wait_for(lambda: False, "pigs fly", seconds=0.01, every=0.001)
