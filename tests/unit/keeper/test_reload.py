"""Settings are resolved by a child and used once, whoever asks meanwhile."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from anetcon.config.load import load
from anetcon.errors import AnetconError
from anetcon.keeper import reload as reloading
from anetcon.keeper.children import Reaper
from anetcon.keeper.loop import Loop
from anetcon.keeper.reload import Reload
from anetcon.link.settings import Settings


class World:
    """A reload whose child is a shell command, and what came of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        (folder / "empty.toml").touch()
        resolved = load(folder / "empty.toml", environment={}).resolved()
        self.answer = folder / "answer"
        self.answer.write_text(json.dumps(resolved))
        self.command = f"cat {self.answer}"
        self.used: list[str] = []
        self.said: list[str] = []
        self.words: list[str] = []
        self.loop = Loop()
        self.loop.after(40, self.loop.stop)
        host: Any = SimpleNamespace(loop=self.loop, reaper=Reaper(self.loop))
        options: Any = SimpleNamespace(rest=[], resolver="resolver")
        self.reload = Reload(host, options, self.loop.stop)
        monkeypatch.setattr(reloading, "report", self.said.append)
        monkeypatch.setattr(reloading, "python", self.python)

    def python(self, _module: str, *words: str) -> list[str]:
        """What is executed instead of the program."""
        self.words = list(words)
        return ["sh", "-c", self.command]

    def apply(self, settings: Settings) -> None:
        """As a keeper does."""
        self.used.append(settings.netns_dir)

    def replace(self, _: Settings) -> None:
        """As a keeper that is replaced."""
        self.used.append("replaced")

    def refuse(self, _: Settings) -> None:
        """As a keeper that cannot become that."""
        raise AnetconError("the store stays")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    """One for a test; signals are as before afterwards."""
    before = signal.getsignal(signal.SIGCHLD)
    yield World(monkeypatch, tmp_path)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, cast(Any, before))


def test_settings_are_resolved_and_used(world: World) -> None:
    """Those of the file that the daemon was started with."""
    world.reload.ask(world.apply, "/etc/a.toml")
    assert world.reload.is_under_way
    world.loop.run()
    assert (world.used, world.reload.is_under_way, world.reload.refused) == (["/run/netns"], False, False)
    assert world.words == ["config", "show", "--format", "json", "-c", "/etc/a.toml"]


@pytest.mark.parametrize(
    ("command", "why"), [("exit 4", "refused (status 4"), ("echo '{'", "cannot read"), ("echo '{}'", "cannot read")]
)
def test_what_cannot_be_used_leaves_the_settings_before(world: World, command: str, why: str) -> None:
    """It is said in one line, and `status` shows it until the next is used."""
    right, world.command = world.command, command
    world.reload.ask(world.apply, None)
    world.loop.run()
    assert (world.used, world.reload.refused, len(world.said)) == ([], True, 1)
    assert why in world.said[0]
    world.command = right
    world.reload.ask(world.apply, None)
    world.loop._running = True
    world.loop.run()
    assert (len(world.used), world.reload.refused) == (1, False)


def test_what_a_keeper_cannot_become_is_refused(world: World) -> None:
    """By who uses it."""
    world.reload.ask(world.refuse, None)
    world.loop.run()
    assert world.reload.refused
    assert world.said == ["<3>the store stays; going on with the settings before"]


def test_who_asks_meanwhile_has_it_done_over(world: World) -> None:
    """Once, since the file may be another by now; a replacement comes before a reload."""
    world.reload.ask(world.apply, None)
    world.reload.ask(world.replace, None, first=True)
    world.reload.ask(world.apply, None)
    world.loop.run()
    assert world.used == ["replaced"]


def test_a_daemon_that_ends_uses_none(world: World) -> None:
    """What was under way is forgotten, and nothing is begun."""
    world.reload.ask(world.apply, None)
    world.reload.stop()
    world.loop.after(0.5, world.loop.stop)
    world.loop.run()
    world.reload.ask(world.apply, None)
    assert (world.used, world.reload.is_under_way) == ([], False)
