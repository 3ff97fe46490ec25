"""The keeper's command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.errors import PermissionMissingError
from anetcon.keeper.main import Options, check_capabilities


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


def test_missing_capabilities_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to enter namespaces it says so before it begins."""
    monkeypatch.setattr(Path, "read_text", lambda _: "Name:\tx\nCapEff:\t0000000000001000\n")
    with pytest.raises(PermissionMissingError, match="CAP_SYS_ADMIN missing: run it as root"):
        check_capabilities()
