"""The loop of capture: whatever comes is taken, flushed when that is due, and what the keeper says is done.

Events take precedence: everything else is done a piece at a time between two rounds of reading. A round waits a few
milliseconds after the first event, so that many are read at once.
"""

from __future__ import annotations

import socket
import time

from anetcon.capture import clock_steps
from anetcon.capture.engine.base import Engine
from anetcon.capture.lifecycle import Lifecycle
from anetcon.capture.recording import Recording
from anetcon.gaps import Cause, Gap
from anetcon.link import messages
from anetcon.link.messages import Message
from anetcon.system import clock
from anetcon.system.clock import Moment
from anetcon.system.report import ERROR, WARNING, report

BUILD_UP, BUSY_BUILD_UP = 0.010, 0.005
"""Seconds a round waits for more events once there are some: a buffer of 2 MiB holds 3,000, a flood's 10 ms. Half as
long when a socket gave BUSY events the last time."""

BUSY = 500

TURN = 0.2
"""Seconds the loop sleeps at most: the keeper's guard takes a capture that stands still for longer as frozen."""

PATIENCE = 6.0
"""Seconds, at the end, that tables which are being listed are waited for."""

SECOND = 1_000_000


class Loop:
    """`run` returns after `stop`, or when the keeper is gone, with all that was read flushed."""

    def __init__(self, recording: Recording, engine: Engine) -> None:
        self._recording = recording
        self._engine = engine
        self.lifecycle = Lifecycle(recording, engine)
        self._clocks = recording.clocks
        self._tick = self._clocks.monotonic
        self._busiest = 0
        self._stopping = self._alone = False

    def stop(self) -> None:
        """End the loop at its next turn; safe in a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Listen until `stop`, or until the keeper is gone."""
        recording = self._recording
        recording.poll.watch(recording.keeper.fileno(), self._keeper_speaks)
        recording.keeper.hello()
        self._flush(recording.clock())  # what was lost before is on record before anything else can happen
        while not self._stopping:
            self._turn()
        self._finish()

    def _turn(self) -> None:
        recording = self._recording
        if recording.poll.wait(TURN):
            time.sleep(BUSY_BUILD_UP if self._busiest >= BUSY else BUILD_UP)
        now = self.now()  # before anything is taken: up to then a flush says that all is recorded
        self._busiest = recording.poll.handle(now)
        if recording.journals.due(now, self._engine.waiting()):
            self._flush(now)
        if now.steady - self._tick >= SECOND:
            self._tick = now.steady
            self._every_second(now)
        recording.header.progress += 1

    def now(self) -> Moment:
        """This moment; when the wall clock was set since the last look, or the machine slept, that is a gap."""
        clocks = clock_steps.read(clock.now_us)
        for cause, start, end, by in clock_steps.moved(self._clocks, clocks):
            self._recording.journals.gap(Gap(None, start, end, cause))
            set_by = f"{WARNING}the wall clock was set by {by / SECOND:+.3f} s"
            report(set_by if by else "the machine was suspended")
            self._recording.journals.stepped(by)
        self._clocks = clocks
        return clocks.moment

    def _flush(self, now: Moment) -> None:
        self._recording.journals.behind = self.lifecycle.attached < self._recording.handed
        self.lifecycle.before_flush()
        self._engine.flush(now)
        header, journals = self._recording.header, self._recording.journals
        header.flushed, header.flushes, header.journal_rows = journals.flushed.wall, journals.flushes, journals.rows
        header.journal_bytes, header.waiting_rows = journals.segments.size(), journals.backlog.waiting.rows
        header.unwritten, header.unwritten_since = journals.trouble.failing, journals.trouble.since
        header.unwritten_error = journals.trouble.error

    def _every_second(self, now: Moment) -> None:
        self._recording.requests.tick(now)
        self._recording.keeper.flush()
        self.lifecycle.tick(now)
        self._engine.tick(now)

    def _keeper_speaks(self, now: Moment) -> None:
        try:
            for message, descriptors in self._recording.keeper.heard():
                self._obey(message, [socket.socket(fileno=descriptor) for descriptor in descriptors], now)
        except EOFError:
            if not self._alone:
                self._alone = True
                self._recording.poll.forget(self._recording.keeper.fileno())
                report(f"{ERROR}the keeper is gone; stopping")
            self.stop()

    def _obey(self, message: Message, sockets: list[socket.socket], now: Moment) -> None:
        match message:
            case messages.Attach():
                self.lifecycle.attach(message, sockets, now)
                return
            case messages.Detach(slot, why):
                self.lifecycle.detach(slot, why, now)
            case Gap():
                self._lost(message, now)
            case _:
                slot = getattr(message, "slot", -1)
                self._engine.hear(message, self.lifecycle.namespaces.get(slot), sockets, now)
        for unwanted in sockets:
            unwanted.close()

    def _lost(self, gap: Gap, now: Moment) -> None:
        """Record a gap that the keeper tells."""
        if gap.cause is not Cause.STARTS_OFF:
            self._recording.lasting.take(gap)
        for namespace in [each for each in self.lifecycle.namespaces.values() if each.netns == gap.netns]:
            self._engine.lost(namespace, gap, now)

    def _hear_all(self) -> None:
        """Do what the keeper said before it said stop: a count of what was lost, a namespace that is gone, whose table
        nobody can list later, and, to a capture that had hardly begun, the sockets themselves."""
        begun = time.monotonic()
        self._keeper_speaks(self.now())
        while self.lifecycle.unlisted and time.monotonic() - begun < PATIENCE:
            self._turn()

    def _finish(self) -> None:
        """Read what waits, flush it, close the segments: a next capture goes on without a gap."""
        recording = self._recording
        self._hear_all()
        self._engine.finish()
        now = self.now()
        for namespace in self.lifecycle.namespaces.values():
            self._engine.read(namespace, now)  # up to then the last flush says that all is recorded
        self.lifecycle.finish(now.wall)
        for network in recording.settings.public:
            recording.journals.public(network, recording.began.origin, now.wall)
        recording.lasting.end_all(now.wall)
        self._flush(now)
        recording.journals.close()
