"""Options that come over the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.cli.overrides import OPTIONS, DaemonOverrides, Overrides
from anetcon.errors import ConfigError


def test_options_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The options as another program gets them mean the same from any folder."""
    monkeypatch.chdir(tmp_path)
    given = Overrides(config=Path("a.toml"), store=Path("s"), namespace=["a", "b"], period=2.5)
    words = given.arguments()
    assert words == [
        *("--config", str(tmp_path / "a.toml"), "--store", str(tmp_path / "s")),
        *("--namespace", "a", "--namespace", "b", "--period", "2.5"),
    ]
    assert Overrides().arguments() == []


def test_each_option_sets_its_key() -> None:
    """Every option comes over the default of its key, and is named as its source."""
    given = DaemonOverrides(
        store=Path("/s"),
        log_dir=Path("/l"),
        namespace=["a"],
        period=2.0,
        engine="conntrack",
        log_file=Path("/l/own"),
        verbose=True,
    )
    loaded = given.load()
    assert {key for key, source in loaded.sources.items() if source.startswith("--")} == {
        key for _, key in OPTIONS.values()
    }
    assert (loaded.config.store.path, loaded.config.logs.dir) == ("/s", "/l")
    assert (loaded.config.logs.file, loaded.config.logs.debug) == ("/l/own", True)
    assert given.arguments()[-3:] == ["--log-file", "/l/own", "--verbose"]


def test_a_period_of_zero_is_not_passed_over() -> None:
    """A value that is nothing is refused, not ignored."""
    with pytest.raises(ConfigError, match=r"--period: audit\.period must be seconds, above 0"):
        Overrides(period=0.0).load()
