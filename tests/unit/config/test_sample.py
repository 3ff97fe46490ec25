"""The configuration as it is installed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from anetcon.config.load import SETTINGS, load
from anetcon.config.sample import sample

KEPT = "store.retention_days"


def test_each_setting_can_be_uncommented(tmp_path: Path) -> None:
    """With every # before a setting taken away it is a configuration that can be used, and sets each of them."""
    lines = [
        line.removeprefix("# ") if " = " in line or line.startswith("# [") else line for line in sample().splitlines()
    ]
    file = tmp_path / "anetcon.toml"
    file.write_text("\n".join(lines))
    loaded = load(file, environment={})
    assert {key for key in SETTINGS if loaded.sources[key] != "default"} == {*SETTINGS}
    assert loaded.resolved()["sinks"]["siem"]["form"] == "anetcon"
    assert loaded.config.audit == type(loaded.config.audit)(networks=loaded.config.audit.networks)


def test_what_is_shown_is_the_default_or_called_an_example() -> None:
    """The value behind a # is what holds without it; where nothing could be written that is, the line says so."""
    table, seen = "", set()
    for line in sample().splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            table = f"{found[1]}."
        elif (found := re.fullmatch(r"# (\w+) = (.*?)(  # an example, not the default)?", line)) and (
            setting := SETTINGS.get(table + found[1])
        ):
            shown = tomllib.loads(f"value = {found[2]}")["value"]
            default = list(setting.default) if isinstance(setting.default, tuple) else setting.default
            assert (shown == default) is (found[3] is None), line
            seen.add(setting.key)
    assert seen == {*SETTINGS} - {"audit.networks", "sinks", "store.retention_days"}


def test_a_plain_gateway(tmp_path: Path) -> None:
    """Its sample sets which namespaces are audited as well."""
    file = tmp_path / "anetcon.toml"
    file.write_text(sample(gateway=True))
    loaded = load(file, environment={})
    assert {key for key, source in loaded.sources.items() if source != "default"} == {"audit.namespaces", KEPT}
    assert loaded.config.audit.namespaces == ("default",)


def test_it_means_the_defaults(tmp_path: Path) -> None:
    """As it stands it sets how many days are kept, and nothing else: who spoke with whom is personal data."""
    file = tmp_path / "anetcon.toml"
    file.write_text(sample())
    loaded = load(file, environment={})
    assert {key for key, source in loaded.sources.items() if source != "default"} == {KEPT}
    assert loaded.config.store.retention_days == 180
