"""Capture and follow, the two long-lived children, and the channel to capture.

Each start gives a child its own copy of the settings; a new capture gets a new channel and every socket again. Refuses
to read what capture records: the channel carries namespaces and gaps only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence, Sized
from typing import Any, NamedTuple

from anetcon.keeper.children import Child
from anetcon.keeper.host import Host
from anetcon.link import channel as channels
from anetcon.link import settings
from anetcon.link.channel import Channel
from anetcon.link.messages import Message
from anetcon.system import privileges
from anetcon.system import syscalls as sc
from anetcon.system.process import WITHHELD, hasten, python, say, spawn
from anetcon.system.report import WARNING, report

MESSAGES = 256
"""Messages of capture taken at a turn: whatever it says, the guard of hold mode has its turn."""

PRIORITY = -10
"""The niceness of capture."""


class Programs(NamedTuple):
    """What the children are: their modules, the settings they get, a descriptor that each of them inherits, and how
    often they were restarted."""

    capture: str
    follow: str
    resolved: dict[str, Any]
    lock: int
    restarts: tuple[int, int] = (0, 0)


class Processes:
    """The children. `on_start` is called when a new capture can be told things, `on_message` with what it says."""

    def __init__(
        self, host: Host, programs: Programs, on_start: Callable[[], None], on_message: Callable[[Message], None]
    ) -> None:
        capture, follow = programs.restarts
        self.capture = Child(host.loop, host.reaper, "anetcon-capture", self._launch_capture, capture)
        self.follow = Child(host.loop, host.reaper, "anetcon-follow", self._launch_follow, follow)
        self._host = host
        self._programs = programs
        self._on_start = on_start
        self._on_message = on_message
        self._handed: Sized = ()
        self._channel: Channel | None = None

    def use(self, resolved: dict[str, Any]) -> None:
        """Children that are started from now on get these settings."""
        self._programs = self._programs._replace(resolved=resolved)

    def hands_over(self, attached: Sized) -> None:
        """A new capture is handed as many namespaces at once as these are then."""
        self._handed = attached

    def replace(self) -> None:
        """Have both end in order, and start again."""
        self.capture.replace()
        self.follow.replace()

    def start(self, adopted: Sequence[int | None] = (None, None)) -> None:
        """Start both, or replace those that run already."""
        for child, pid in zip((self.capture, self.follow), adopted, strict=True):
            if pid is None:
                child.start()
            else:
                child.adopt(pid)

    @property
    def channel(self) -> list[int]:
        """The descriptor of the channel, if there is one: for the program that replaces this one."""
        return [] if self._channel is None else [self._channel.fileno()]

    def adopt_channel(self, descriptors: Sequence[int]) -> None:
        """Go on with the channel of the capture that is to be replaced, until it ends."""
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
            self._channel = Channel.of(descriptor)
            self._watch_channel()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Tell capture. Lost when there is none: the next one is told everything; so it is replaced when this fails."""
        if self._channel is None:
            return
        try:
            self._channel.send(message, descriptors)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                report(f"{WARNING}cannot tell capture anything more, it will be started again: {error.strerror}")
            self._close_channel()
        else:
            self._watch_channel()

    def _launch_capture(self) -> int:
        self._close_channel()
        ours, theirs = channels.pair()
        descriptor = settings.write(self._programs.resolved)
        counters, home = self._host.shared.descriptor, self._host.home.fileno()
        options = {"channel": theirs.fileno(), "counters": counters, "settings": descriptor, "home": home}
        try:
            handed = ("--handed", str(len(self._handed)))
            pid = self._launch(self._programs.capture, options, handed, _set_apart, capable=[privileges.NET_ADMIN])
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(descriptor)
        self._channel = Channel(ours)
        self._watch_channel()
        self._on_start()
        return pid

    def _launch_follow(self) -> int:
        descriptor = settings.write(self._programs.resolved)
        try:
            return self._launch(self._programs.follow, {"settings": descriptor})
        finally:
            os.close(descriptor)

    def _launch(
        self,
        module: str,
        options: dict[str, int],
        more: Sequence[str] = (),
        before: Callable[[], object] | None = None,
        capable: Collection[int] = (),
    ) -> int:
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        words += more
        keep = [self._programs.lock, *options.values()]
        return spawn(python(module, *words), keep=keep, before=before, held=WITHHELD, capable=capable)

    def _watch_channel(self) -> None:
        assert self._channel is not None  # noqa: S101  (for the type checker)
        self._host.loop.watch(self._channel.fileno(), self._on_channel, writable=self._channel.queued > 0)

    def _on_channel(self) -> None:
        assert self._channel is not None  # noqa: S101  (for the type checker)
        channel = self._channel
        try:
            channel.flush()
            for _ in range(MESSAGES):
                if self._channel is not channel or (received := channel.receive()) is None:
                    break
                self._on_received(*received)
        except (EOFError, OSError):
            if self._channel is channel:
                self._close_channel()
        except ValueError as error:
            report(f"{WARNING}capture said what this version does not know, and it is ignored: {error}")
        if self._channel is channel:
            self._watch_channel()

    def _on_received(self, message: Message, descriptors: list[int]) -> None:
        for descriptor in descriptors:  # capture has no business sending any
            os.close(descriptor)
        self._on_message(message)

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._host.loop.unwatch(self._channel.fileno())
            self._channel.close()
            self._channel = None


def _set_apart() -> None:
    """In the child: capture comes before others, and is in a network namespace with nothing in it. It asks in others,
    through sockets that were opened there."""
    hasten("anetcon-capture", PRIORITY, "LimitNICE=-10")
    try:
        sc.unshare(sc.CLONE_NEWNET)
    except OSError as error:  # as where there are as many as there may be
        say(f"{WARNING}capture stays in the daemon's own network namespace: {error.strerror}")
