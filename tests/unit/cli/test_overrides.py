"""Options that come over the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.cli.overrides import OPTIONS, Overrides


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
    given = Overrides(store=Path("/s"), log_dir=Path("/l"), namespace=["a"], period=2.0, engine="conntrack")
    loaded = given.load()
    assert {key for key, source in loaded.sources.items() if source.startswith("--")} == {
        key for _, key in OPTIONS.values()
    }
    assert (loaded.config.store.path, loaded.config.logs.dir) == ("/s", "/l")
