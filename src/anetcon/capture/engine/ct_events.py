"""The engine conntrack: the kernel's events of starts and ends, read at every turn, and its tables where events are not
enough: what was open before, what is open after a loss, what is left when a namespace goes.
"""

from __future__ import annotations

import socket
import time

from anetcon.capture import sampled_packets
from anetcon.capture.engine.base import Engine
from anetcon.capture.hidden import Ruleset
from anetcon.capture.listings import Listings
from anetcon.capture.losses import Losses
from anetcon.capture.namespace import Namespace
from anetcon.capture.pipeline import tracked
from anetcon.capture.recording import Recording
from anetcon.capture.repeats import Repeats
from anetcon.capture.starts import Starts
from anetcon.capture.tracking import Tracking
from anetcon.capture.untracked import Untracked
from anetcon.gaps import Cause, Gap, Mark
from anetcon.link import messages
from anetcon.link.messages import Message
from anetcon.system.clock import Moment
from anetcon.system.report import WARNING, report

REPEAT, CALM, PATIENCE = 0.02, 1.5, 6.0
"""Seconds, at the end, between two looks for what the kernel held back; without any after which it has told all (it
begins again after a second at most, nf_conntrack_ecache.c); and after which capture ends nevertheless: a flood may go
on, and a next capture with its sockets."""

SETTLED = 2_000_000
"""Microseconds without a refused event after which the kernel has told all it kept back, as a rule."""

SECOND = 1_000_000


class Conntrack(Engine):
    """Events come through a socket in each namespace."""

    lists = True

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        requests, lasting, pipeline = recording.requests, recording.lasting, recording.pipeline
        self.losses = Losses(pipeline.counted["drops"], recording.clock)
        self.listings = Listings(recording.tables, recording.journals, self.losses, recording.clock, self._drain)
        self.starts = Starts(lasting, self.listings, recording.settings.journals.starts)
        self._repeats = Repeats(lasting, recording.keeper)
        self._untracked = Untracked(lasting)
        self._tracking = Tracking(requests, lasting, pipeline.counted)
        self._ruleset = Ruleset(requests, lasting, recording.keeper, self._tracking, self._untracked)
        self._namespaces: dict[Namespace, socket.socket | None] = {}
        """With the socket where the kernel logs packets that it calls invalid (`packets`)."""
        self._drained: set[Namespace] = set()
        """Those that something was read of since the last flush."""
        self._sheds = 0

    def attach(self, namespace: Namespace, now: Moment, *, known: bool) -> None:
        """Listen to its events; what the kernel dropped before is missed."""
        began = self.recording.began
        self._namespaces[namespace] = None
        self._tracking.begin(namespace, now)
        self.recording.poll.watch(namespace.descriptor, lambda now: self._drain(namespace, now), rapid=True)
        self.losses.begin(namespace, began.written if namespace.resumed else namespace.attached, now)
        self._watch_drops(namespace, now)
        if (namespace.netns, Cause.STARTS_OFF) in self.recording.lasting.left:
            self.starts.missed(namespace, began.started.wall, now)
        if known:
            self.listings.want(namespace)  # of those on record some may have ended meanwhile
        self._drain(namespace, now)  # what came before `now` is in the flush that says so

    def opened(self, namespace: Namespace, found: int) -> None:
        """Where something was tracked, connection tracking runs."""
        if found:
            self._tracking.found(namespace)

    def hear(self, message: Message, namespace: Namespace | None, sockets: list[socket.socket], now: Moment) -> None:
        """Of rules that changed, of packets that are invalid."""
        match message:
            case messages.RulesetChanged(_, since, legacy) if namespace is not None:
                self._ruleset.changed(namespace, since, legacy)
            case messages.Invalid() if namespace is not None:
                self._untracked.counted(namespace, message, now)
            case messages.Sample() if namespace is not None and self._namespaces[namespace] is None:
                sample = self._namespaces[namespace] = sockets.pop()
                self.recording.poll.watch(
                    sample.fileno(), lambda now: sampled_packets.read(sample, namespace, self.recording.pipeline, now)
                )

    def lost(self, namespace: Namespace, gap: Gap, now: Moment) -> None:
        """List again what something was lost of."""
        if gap.cause is Cause.STARTS_OFF and gap.end is None:
            self.starts.off(namespace, gap.start or 0)
        elif gap.cause is Cause.STARTS_OFF and gap.end is not None:
            self.starts.on(namespace, now.at(gap.end))
        elif Mark.RELISTS in gap.cause.marks and gap.end is not None:
            self.starts.lost(namespace, gap.end)
            self.listings.want(namespace, (gap.start or 0, gap.end) if gap.cause is Cause.EVENTS_OFF else None)

    def read(self, namespace: Namespace, now: Moment) -> None:
        """Take its events and the sample of its packets."""
        self._drain(namespace, now)
        if (sample := self._namespaces[namespace]) is not None:
            sampled_packets.read(sample, namespace, self.recording.pipeline, now)
        self._watch_drops(namespace, now)

    def forget(self, namespace: Namespace) -> None:
        """It is not listed again."""
        self.listings.forget(namespace)
        self._repeats.forget(namespace)

    def gone(self, namespace: Namespace, now: Moment, *, listed: bool) -> None:
        """Take what came while its table was listed; whether that is all of it."""
        self._drain(namespace, now)
        settled = now.steady - self.losses.latest(namespace) >= SETTLED
        self.starts.gone(namespace, now.wall, whole=listed and settled)

    def release(self, namespace: Namespace, now: Moment) -> None:
        """Listen no longer."""
        self.starts.gone(namespace, now.wall, whole=False)
        self._untracked.forget(namespace)
        self._tracking.forget(namespace)
        self.losses.forget(namespace)
        self._drained.discard(namespace)
        self.recording.poll.forget(namespace.descriptor)
        if (sample := self._namespaces.pop(namespace)) is not None:
            self.recording.poll.forget(sample.fileno())
            sample.close()

    def tick(self, now: Moment) -> None:
        """Look at what is due in each namespace."""
        period = int(self.recording.settings.period * SECOND)
        for namespace in list(self._namespaces):
            self._watch_drops(namespace, now)
            self._tracking.look(namespace, now, period)
            self.recording.tables.look_again(namespace, now)
            if self.recording.settings.samples and (families := self._tracking.news(namespace)) is not None:
                self.recording.keeper.tracks(namespace, families)
        journals = self.recording.journals
        if self._sheds != journals.backlog.sheds and not journals.trouble.failing:
            self._sheds = journals.backlog.sheds
            for namespace in self._namespaces:
                self.starts.missed(namespace, journals.backlog.shed_at, now)
                self.starts.lost(namespace, now.wall)
                self.listings.want(namespace)
        self.starts.tick(now)
        self._untracked.tick(now)
        for namespace, begun in self.listings.tick(now):
            self.starts.listed(namespace, begun)

    def flush(self, now: Moment) -> None:
        """Decode and write; before that what was dropped, since a flush says that all was recorded until `now`."""
        for namespace in self._drained:
            self._watch_drops(namespace, now)
        self._drained.clear()
        pipeline = self.recording.pipeline
        pipeline.process(now)
        for code, families in tracked(pipeline.columns).items() if self.recording.settings.samples else ():
            if (seen := pipeline.codes.by_code[code]) is not None:
                self._tracking.saw(seen, families)
        self._repeats.look(pipeline.columns, pipeline.codes.by_code, self.recording.journals.taken, now)
        pipeline.flush(now)

    def finish(self) -> None:
        """Also what the kernel held back."""
        if self.recording.settings.hold:
            self._read_held_back()
        self._untracked.end_all()

    def _drain(self, namespace: Namespace, now: Moment) -> int:
        self._drained.add(namespace)
        try:
            return self.recording.pipeline.drain(namespace, now)
        except OSError as error:  # ENOBUFS cannot come (NETLINK_NO_ENOBUFS); anything else is told and survived
            report(f"{WARNING}cannot read events of {namespace.netns}: {error.strerror}; going on")
            return 0

    def _watch_drops(self, namespace: Namespace, now: Moment) -> None:
        """What was dropped since the last look may have been starts; while the kernel does not hold ends back, it is
        what was lost."""
        loss = self.losses.look(namespace, now)
        if loss is None:
            return
        hold = self.recording.settings.hold
        if not hold:
            self.recording.journals.gap(Gap(namespace.netns, loss.start, loss.end.wall, Cause.OVERRUN, loss.number))
            self.starts.lost(namespace, loss.end.wall)
            self.listings.want(namespace)
        self.starts.missed(namespace, loss.start if hold else loss.end.wall, loss.end)

    def _read_held_back(self) -> None:
        """In hold the kernel keeps the ends that a full socket had no room for, and tries again: nobody would be told
        of them when it is closed. All are read meanwhile: what nobody reads is soon full, too."""
        begun, recently = time.monotonic(), self.recording.clock().steady - SETTLED
        waiting = {each: begun for each in self._namespaces if self.losses.latest(each) > recently}
        while True:
            now = self.recording.clock()
            for namespace in self._namespaces:
                moved = self.losses.moved(namespace)
                taken = self._drain(namespace, now)
                if moved or (taken and namespace in waiting):
                    waiting[namespace] = time.monotonic()
                elif namespace in waiting and time.monotonic() - waiting[namespace] >= CALM:
                    del waiting[namespace]
            if not waiting or time.monotonic() - begun >= PATIENCE:
                return
            self.recording.header.progress += 1
            time.sleep(REPEAT)
