"""The keeper's command line."""

from __future__ import annotations

from anetcon.keeper.options import Options


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
