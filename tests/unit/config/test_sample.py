"""The configuration as it is installed."""

from __future__ import annotations

from pathlib import Path

from anetcon.config.load import SETTINGS, load
from anetcon.config.sample import sample


def test_each_setting_can_be_uncommented(tmp_path: Path) -> None:
    """With every # before a setting taken away it is a configuration that can be used, and sets each of them."""
    lines = [
        line.removeprefix("# ") if " = " in line or line.startswith("# [") else line for line in sample().splitlines()
    ]
    file = tmp_path / "anetcon.toml"
    file.write_text("\n".join(lines))
    loaded = load(file, environment={})
    assert {key for key in SETTINGS if loaded.sources[key] != "default"} == {*SETTINGS} - {"sinks"}
    assert loaded.config.audit == type(loaded.config.audit)(networks=loaded.config.audit.networks)


def test_it_means_the_defaults(tmp_path: Path) -> None:
    """As it stands nothing in it counts."""
    file = tmp_path / "anetcon.toml"
    file.write_text(sample())
    assert set(load(file, environment={}).sources.values()) == {"default"}
