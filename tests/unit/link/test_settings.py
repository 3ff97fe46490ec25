"""The settings as the keeper sees them."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from anetcon.config.load import load
from anetcon.link import settings
from anetcon.link.settings import Settings


@pytest.fixture
def resolved(tmp_path: Path) -> dict[str, Any]:
    """What the configuration resolves to when nothing is set, as it travels."""
    file = tmp_path / "empty.toml"
    file.touch()
    answer: dict[str, Any] = json.loads(json.dumps(load(file, environment={}).resolved()))
    return answer


def test_the_defaults_of_the_configuration_are_understood(resolved: dict[str, Any]) -> None:
    """Every setting the keeper needs is in what the configuration gives."""
    chosen = Settings(resolved)
    assert chosen.hold
    assert chosen.starts
    assert chosen.netns_dir == "/run/netns"
    assert chosen.selects("qrouter-1")
    assert not chosen.selects("other")


def test_default_is_no_pattern(resolved: dict[str, Any]) -> None:
    """`default` means the daemon's own namespace and matches no name, and no pattern matches a file of that name."""
    resolved["audit"]["namespaces"] = ["default", "^qr"]
    chosen = Settings(resolved)
    assert chosen.with_default
    assert not chosen.selects("my-default-1")
    resolved["audit"]["namespaces"] = ["."]
    assert not Settings(resolved).with_default
    assert not Settings(resolved).selects("default")
    assert Settings(resolved).selects("anything")


def test_a_name_is_looked_at_once(resolved: dict[str, Any]) -> None:
    """A thousand patterns and as many names, of which each listing asks, would be a million searches each time."""
    chosen = Settings(resolved)
    assert [chosen.selects(name) for name in ("qrouter-1", "other") * 2] == [True, False] * 2
    chosen._patterns.clear()
    assert chosen.selects("qrouter-1")


def test_only_what_concerns_the_children_replaces_them(resolved: dict[str, Any]) -> None:
    """The keeper's own settings do not; those of capture and follow do, and sinks are follow's alone."""
    before = Settings(copy.deepcopy(resolved))
    resolved["audit"]["period"] = 5.0
    resolved["audit"]["namespaces"] = ["."]
    assert not Settings(resolved).children_differ(before)
    resolved["sinks"] = {"siem": {"type": "json", "to": "file:/x"}}
    assert Settings(resolved).children_differ(before)
    assert not Settings(resolved).capture_differs(before)
    resolved["audit"]["networks"] = {"qrouter-1": ["10.0.0.0/8"]}
    assert Settings(resolved).children_differ(before)
    assert Settings(resolved).capture_differs(before)


def test_a_log_engine_listens_to_no_events(resolved: dict[str, Any]) -> None:
    """With one there are no starts to ask for and nothing to hold; with conntrack there are, as configured."""
    before = Settings(copy.deepcopy(resolved))
    resolved["audit"]["engine"] = "iptables-log"
    after = Settings(resolved)
    assert (before.engine, before.kind.rules, before.starts, before.hold) == ("conntrack", False, True, True)
    assert (after.engine, after.kind.rules, after.starts, after.hold) == ("iptables-log", True, False, False)
    assert after.children_differ(before)


def test_settings_travel_in_a_memory_file(resolved: dict[str, Any]) -> None:
    """They are read whole wherever the position is, and the file is closed on exec until told otherwise."""
    descriptor = settings.write(resolved)
    os.lseek(descriptor, 10, os.SEEK_SET)
    assert settings.read(descriptor) == resolved
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
