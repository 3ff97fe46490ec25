"""What is done in network namespaces: they are found, attached, guarded, watched, given rules and tables, let go of.

Each part does its own (`roster`, `hold`, `watch`, `log_engine`, `activate`, `sampling`); here is when. Refuses to know
processes: what is sent goes to the capture there is, and a new one is told by `start_capture`.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Sequence, Set

from anetcon.errors import AnetconError
from anetcon.keeper import attach
from anetcon.keeper.activate import Activation
from anetcon.keeper.hold import Guard
from anetcon.keeper.host import Host
from anetcon.keeper.jobs import Errands
from anetcon.keeper.log_engine.rules import Rules
from anetcon.keeper.loop import Timer
from anetcon.keeper.namespace import Namespace, Stage
from anetcon.keeper.namespaces import READABLE, Namespaces, Seen
from anetcon.keeper.roster import Roster
from anetcon.keeper.sampling import Sampling
from anetcon.keeper.watch import Watch
from anetcon.link import messages
from anetcon.link.messages import Message
from anetcon.link.settings import DEFAULT, Settings
from anetcon.system.clock import now_us
from anetcon.system.report import WARNING, report


class Audit:
    """All of it. `send` gives capture a message and descriptors."""

    def __init__(self, host: Host, settings: Settings, send: Callable[..., None]) -> None:
        self.guard = Guard(host.shared, settings, send)
        self.roster = Roster(host, settings, self.guard, send, self._missing)
        self.errands = Errands(host.loop, host.reaper, host.home)
        self.rules = Rules(host, settings, self.errands, send, self.roster.try_again)
        self._host = host
        self._settings = settings
        self._own = Seen(host.home.inode, newborn=False, noticed=now_us())
        self._watch = Watch(host, send)
        self._activation = Activation(host)
        self._sampling = Sampling(host, send)
        self._namespaces = Namespaces(settings.netns_dir, settings.selects)
        self._look: Timer | None = None
        self._listing: Timer | None = None

    def begin(self) -> None:
        """Attach what is there, and whatever comes from now on."""
        self._host.loop.watch(self._namespaces.fileno(), self._on_namespaces)
        self._list()

    @property
    def is_tried(self) -> bool:
        """Whether every namespace is attached or cannot be."""
        return all(each.state is not Stage.FOUND for each in self.roster.namespaces.values())

    # Which are there

    def _list(self) -> None:
        """The full listing, and whatever else is due every period."""
        self._see(self._namespaces.scan)
        self._namespaces.changes()  # all of them are seen to
        self._reconcile(dict.fromkeys((DEFAULT, *self._namespaces.present, *self.roster.namespaces)).keys())
        self.roster.retry()
        self.rules.check()
        if self._listing is not None:
            self._listing.cancel()
        self._listing = self._host.loop.after(self._settings.period, self._list)

    def _on_namespaces(self) -> None:
        self._see(self._namespaces.on_events)
        self._reconcile(self._namespaces.changes())

    def _see(self, look: Callable[[], None]) -> None:
        """Have namespaces looked for. Where they cannot be listed those that are audited go on; with none of them it
        is as at the start: AnetconError, so that there is a gap."""
        try:
            look()
        except OSError as error:
            why = f"cannot list {self._settings.netns_dir}: {error.strerror}"
            if not self.roster.namespaces:
                raise AnetconError(f"{why}; {READABLE}") from error
            report(f"{WARNING}{why}; trying again")

    def _look_again(self) -> None:
        self._look = None
        self._namespaces.look_again()
        self._reconcile(self._namespaces.changes())

    def _reconcile(self, names: Set[str]) -> None:
        """Do what follows where these have changed; others come and go all day of which none is ours."""
        if names:
            there = ChainMap({DEFAULT: self._own} if self._settings.with_default else {}, self._namespaces.present)
            present = {name: there[name] for name in names if name in there}
            self.roster.reconcile(names, present, self._leaving)
            self.rules.keep(self.roster.namespaces.values())
        never_became, missed = self._namespaces.news()
        for name in never_became:
            report(
                f"{WARNING}{self._settings.netns_dir}/{name} is no network namespace as seen from here; if it is one "
                "elsewhere, start the daemon where its mount is seen"
            )
        for name, since in missed:
            self.roster.missed(name, since)
        pause = self._namespaces.pause()
        if pause is not None and self._look is None:
            self._look = self._host.loop.after(pause, self._look_again)

    def _leaving(self, namespace: Namespace) -> None:
        """What is to be done in one for the last time."""
        if namespace.attachment is not None and namespace.attachment.held is not None:
            namespace.attachment.held.tell()
        self._watch.let_go(namespace)

    def _missing(self, namespace: Namespace) -> str | None:
        return self.rules.missing(namespace)

    # Capture

    def start_capture(self) -> None:
        """Capture is a new one: tell it everything."""
        self.roster.start_capture()
        if self._settings.record_invalid:
            self._sampling.tell_again(self.roster.attached.values())
        self.rules.start_capture()

    def capture_said(self, message: Message) -> None:
        """Do what follows."""
        match message:
            case messages.Hello():
                self.roster.capture_said_hello()
                self._watch.tell_again(self.roster.attached)
                self.guard.tell_again(self.roster.attached)
            case messages.Detached(slot):
                self.roster.detached(slot)
            case messages.Tracks(slot, families):
                if (namespace := self.roster.attached.get(slot)) and namespace.attachment is not None:
                    namespace.attachment.invalid.learn(map(str, families))
            case messages.Remark(slot, cause, what):
                if (namespace := self.roster.attached.get(slot)) is not None:
                    namespace.remark(cause, what)
            case _:
                report(f"{WARNING}capture said what only the keeper says: {type(message).__name__}")

    # Time

    def tick(self) -> None:
        """Ten times a second."""
        self.guard.tick(self.roster.attached)

    def each_second(self) -> None:
        """Tables of ours, and what is watched."""
        attached = self.roster.attached
        column = self._host.shared.column
        activating = attached.values() if self._settings.activate_conntrack else ()
        self._activation.keep({(each.name, each.inode) for each in activating}, self._settings.netns_dir)
        inactive: Sequence[int] = column("state") if attached else ()
        for each in activating:
            self._activation.look(each, inactive[each.slot])
        if self._settings.record_invalid:
            self._sampling.tick(attached.values(), self._settings.netns_dir)
        else:
            self._sampling.close(attached.values(), self._settings.netns_dir)
        self.roster.announcer.tick(self._settings, len(self.roster.namespaces))
        if self._settings.kind.events:
            self._watch.tick(attached, column("events") if attached else (), inactive)

    # Settings

    def look_into(self, folder: str) -> None:
        """Namespaces are there. Raises AnetconError when it cannot be watched, and nothing has changed."""
        if folder != self._settings.netns_dir:
            listing = Namespaces(folder, self._settings.selects)
            self._host.loop.unwatch(self._namespaces.fileno())
            self._namespaces.close()
            self._namespaces = listing
            self._host.loop.watch(listing.fileno(), self._on_namespaces)

    def apply(self, settings: Settings) -> None:
        """Use these from now on, having looked into their folder."""
        old, self._settings = self._settings, settings
        self.roster.use(settings)
        self.rules.use(settings)
        self.guard.use(settings)
        self.adapt(old.hold, old.starts)
        self._namespaces.select(settings.selects)
        self._list()

    def adapt(self, hold: bool, starts: bool) -> None:
        """Bring sockets in line with the settings, after those before them."""
        settings = self._settings
        for namespace in self.roster.attached.values():
            if starts != settings.starts and namespace.attachment is not None:
                attach.set_starts(namespace.attachment.events, settings.starts)
            if settings.hold and not hold:
                self.guard.add(namespace)
        if hold and not settings.hold:
            self.guard.shed(self.roster.attached)

    def let_go(self) -> None:
        """With another engine everything is attached anew: sysctls, sockets and rules differ."""
        self.guard.shed(self.roster.attached)
        self.roster.let_go(self._leaving)

    # The end

    def tell_end(self) -> None:
        """The daemon ends: what lasts until now is told, while there is somebody to be told."""
        self.roster.announcer.finish()
        self.guard.tell(self.roster.attached)
        self._watch.tell_end(self.roster.attached)
        self.roster.tell_end()
        self.rules.tell_end()

    def tidy_up(self) -> bool:
        """Take tables away, also of what was under way and has come to stand since; whether a child is at it still."""
        self._activation.keep(set(), self._settings.netns_dir)
        self._sampling.close(self.roster.attached.values(), self._settings.netns_dir)
        return bool(self._activation.busy or self._sampling.busy or self.errands.busy)
