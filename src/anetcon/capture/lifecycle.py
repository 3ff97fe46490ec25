"""Namespaces come and go: what the keeper hands over is listened to, listed and let go of."""

from __future__ import annotations

import socket

from anetcon.capture import flood
from anetcon.capture.addresses import MOST_ROUTES
from anetcon.capture.engine.base import Engine
from anetcon.capture.namespace import Namespace
from anetcon.capture.recording import Recording
from anetcon.capture.table_dumps import Opened
from anetcon.gaps import Cause, Gap
from anetcon.link import messages
from anetcon.system.clock import Moment
from anetcon.system.report import WARNING, debug, report


class Lifecycle:
    """Those that are attached, by slot."""

    def __init__(self, recording: Recording, engine: Engine) -> None:
        self.namespaces: dict[int, Namespace] = {}
        self.unlisted: set[Namespace] = set()
        """Those whose first listing, or the last of one that is gone, is not in yet."""
        self.attached = 0
        """How many there were so far."""
        self._recording = recording
        self._engine = engine

    def attach(self, told: messages.Attach, sockets: list[socket.socket], now: Moment) -> None:
        """Listen to a namespace; what is open in it already is listed, unless the capture before this one was there."""
        recording, began = self._recording, self._recording.began
        namespace = Namespace(told, sockets, recording.settings.journals.node)
        self.namespaces[namespace.slot] = namespace
        seen = not began.first or recording.vanished.is_here(namespace.netns, namespace.inode)
        recording.vanished.begin(namespace.netns, namespace.inode)
        debug("%s: listening, slot %d%s", told.netns, told.slot, ", as before" if told.resumed else "")
        recording.pipeline.add(namespace)
        recording.poll.watch(namespace.requests.fileno(), lambda now: recording.requests.readable(namespace, now))
        recording.poll.watch(namespace.surroundings.fileno(), lambda now: self._look_around(namespace, now.wall))
        start = min(now.wall, max(namespace.attached, began.origin))  # what is there was there: nobody looked before
        namespace.surroundings.follow(start)
        self._look_around(namespace, start)  # the kernel has answered: no event is classified without the addresses
        anew = not (namespace.resumed and began.continues)
        self._engine.attach(namespace, now, known=anew and seen and (namespace.resumed or not namespace.newborn))
        if anew:
            self.unlisted.add(namespace)
            recording.tables.opened(
                namespace, lambda opened: self._opened(namespace, opened), record=self._engine.lists
            )
        self._tell_what_is_left_out(namespace, start)
        self.attached += 1

    def _tell_what_is_left_out(self, namespace: Namespace, start: int) -> None:
        recording, attached, started = self._recording, namespace.attached, self._recording.began.started.wall
        if namespace.netns in recording.settings.networks:
            recording.lasting.begin(namespace.netns, Cause.LEFT_OUT, start)
        again = recording.lasting.end(namespace.netns, Cause.DESELECTED, attached)
        if not again and not namespace.newborn and not namespace.resumed and attached > started:
            recording.journals.gap(Gap(namespace.netns, started, attached, Cause.NOT_ATTACHED))

    def _look_around(self, namespace: Namespace, now: int) -> None:
        namespace.surroundings.read(now)
        if namespace.context.take_change():
            self._recording.pipeline.addresses_changed(namespace)
        lasting = self._recording.lasting
        if namespace.context.routes_unknown and not lasting.lasts(namespace.netns, Cause.ROUTES_UNKNOWN):
            lasting.begin(namespace.netns, Cause.ROUTES_UNKNOWN, now)
            why = f"more than {MOST_ROUTES} routes, or one that cannot be read"
            report(f"{WARNING}{namespace.netns} has {why}: none of them is recorded")

    def _opened(self, namespace: Namespace, opened: Opened | None) -> None:
        """The first dump is in: what it says about the time before."""
        self.unlisted.discard(namespace)
        if namespace.newborn and not namespace.resumed and (opened is None or opened.older):
            gap = Gap(namespace.netns, namespace.noticed, namespace.attached, Cause.NOT_ATTACHED)
            self._recording.journals.gap(gap)
        if opened is not None:
            self._engine.opened(namespace, opened.found)
        else:
            what = f"cannot list the open connections of {namespace.netns}"
            report(f"{WARNING}{what}; those are recorded when they end")

    def detach(self, slot: int, why: str, now: Moment) -> None:
        """Let go of a namespace; what is open in one that is gone has ended."""
        namespace = self.namespaces.get(slot)
        if namespace is None:
            self._recording.keeper.detached(slot)
            return
        debug("%s: let go of (%s)", namespace.netns, why)
        self._engine.read(namespace, now)
        self._forget(namespace)
        if why != messages.GONE:
            self._recording.lasting.begin(namespace.netns, Cause.DESELECTED, now.wall)
            self._release(namespace)
        elif self._engine.lists:
            self.unlisted.add(namespace)
            self._recording.tables.ended(namespace, lambda answered: self._gone(namespace, answered))
        else:
            self._recording.vanished.end(namespace.netns, namespace.inode)
            self._release(namespace)

    def _gone(self, namespace: Namespace, answered: bool) -> None:
        recording, now = self._recording, self._recording.clock()
        if not answered:
            journals = recording.journals
            journals.gap(Gap(namespace.netns, journals.taken, now.wall, Cause.NAMESPACE_GONE))
            journals.listed(namespace.netns, namespace.inode, now.wall, now.wall)
        self._engine.gone(namespace, now, listed=answered)
        recording.vanished.end(namespace.netns, namespace.inode)
        self._release(namespace)

    def _forget(self, namespace: Namespace) -> None:
        """Ask it nothing more, and expect nothing."""
        self._recording.requests.forget(namespace)
        self._engine.forget(namespace)

    def _release(self, namespace: Namespace) -> None:
        recording, now = self._recording, self._recording.clock()
        self._forget(namespace)  # a second may have passed since it was detached, with questions of its own
        recording.pipeline.process(now)  # its events are decoded while its code still has its name
        self._engine.release(namespace, now)
        recording.lasting.end_local(namespace.netns, now.wall)
        namespace.context.close(now.wall)
        self._take_rows(namespace)
        recording.pipeline.remove(namespace)
        recording.tables.forget(namespace)
        self.unlisted.discard(namespace)
        del self.namespaces[namespace.slot]
        for watched in (namespace.requests, namespace.surroundings):
            recording.poll.forget(watched.fileno())
        namespace.close()
        recording.keeper.detached(namespace.slot)

    def tick(self, now: Moment) -> None:
        """About a second has passed."""
        for namespace in self.namespaces.values():
            for interface in namespace.context.tick(now):
                report(
                    f"{WARNING}{namespace.netns}: more than {flood.MOST} neighbours a minute appear on {interface}; "
                    "see who floods it. Their MAC addresses are not all recorded"
                )
            namespace.surroundings.ask(now.wall)

    def before_flush(self) -> None:
        """Hand over what is known of the addresses of all."""
        for namespace in self.namespaces.values():
            if namespace.context.take_change():
                self._recording.pipeline.addresses_changed(namespace)
            self._take_rows(namespace)

    def finish(self, now: int) -> None:
        """Nobody watches them any more."""
        for namespace in self.namespaces.values():
            namespace.context.close(now)

    def _take_rows(self, namespace: Namespace) -> None:
        for table, row in namespace.context.take_rows():
            self._recording.journals.small[table].append(row)
