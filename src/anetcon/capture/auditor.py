"""The loop of capture: what the keeper hands over is listened to, dumped, watched and let go.

Events take precedence: everything else is done a piece at a time between two rounds of reading. A round waits a few
milliseconds after the first event, so that many are read at once.
"""

from __future__ import annotations

import contextlib
import mmap
import select
import socket
import struct
import time
from collections.abc import Callable

import numpy as np

from anetcon.capture import flood, packets
from anetcon.capture.addresses import MOST_ROUTES, Context
from anetcon.capture.clock_steps import moved, read
from anetcon.capture.hidden import Ruleset
from anetcon.capture.kernel_lines import KernelLines
from anetcon.capture.lasting import Lasting
from anetcon.capture.listings import Listings
from anetcon.capture.namespace import Namespace
from anetcon.capture.pipeline import Pipeline
from anetcon.capture.repeats import Repeats
from anetcon.capture.requests import Requests
from anetcon.capture.settings import Settings
from anetcon.capture.starts import Starts
from anetcon.capture.tables import Opened, Tables
from anetcon.capture.tracking import Tracking
from anetcon.capture.untracked import Untracked
from anetcon.capture.vanished import Vanished
from anetcon.capture.writer import Journals
from anetcon.gaps import Cause, Gap, Mark
from anetcon.journal.read import ended_cleanly, last_flush
from anetcon.journal.write import segments
from anetcon.link import counters, messages
from anetcon.link.channel import Channel
from anetcon.link.messages import Message
from anetcon.system.report import ERROR, WARNING, debug

BUILD_UP, BUSY_BUILD_UP = 0.010, 0.005
"""Seconds a round waits for more events once there are some: a buffer of 2 MiB holds 3,000, a flood's 10 ms. Half as
long when a socket gave BUSY events the last time."""

BUSY = 500

TURN = 0.2
"""Seconds the loop sleeps at most: the keeper's guard takes a capture that stands still for longer as frozen."""

REPEAT, CALM, PATIENCE = 0.02, 1.5, 6.0
"""Seconds, at the end, between two looks for what the kernel held back; without any after which it has told all (it
begins again after a second at most, nf_conntrack_ecache.c); and after which capture ends nevertheless: a flood may go
on, and a next capture with its sockets."""

SO_MEMINFO = 55  # asm-generic/socket.h; nine u32, the last is the drop counter (linux/sock_diag.h)
SETTLED = 2_000_000
"""Microseconds without a refused event after which the kernel has told all it kept back, as a rule."""

DROPS = counters.SLOT.index("drops")

SECOND = 1_000_000


class Auditor:
    """Owns everything capture has. `run` returns after `stop`, with all that was read flushed."""

    def __init__(
        self, settings: Settings, shared: mmap.mmap, clock: Callable[[], int], log: Callable[[str], None]
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.log = log
        self.namespaces: dict[int, Namespace] = {}
        self._header = np.frombuffer(shared, np.uint64, len(counters.HEADER))
        restarted = bool(self._header[0])
        self._clocks = read(clock)  # before anything that takes time: what is compared with it later is of one moment
        self.started = self._clocks.wall
        store, folder = settings.journals.store, settings.journals.store / "journal" / "connections"
        before = last_flush(folder)
        self._before = self.started if before is None else min(before, self.started)
        """Up to when whoever was before this one wrote."""
        self._first = not segments(folder)  # of one that cannot be read back there may be a store
        self._continues = restarted and ended_cleanly(folder)
        self.journals = Journals(settings.journals, self.started)
        self._origin = before if self._continues and before is not None else self.started
        """From when on this capture, or one that it continues, recorded."""
        self.lasting = Lasting(store / "lasting.json", self.journals.gap, self._origin)
        self.lasting.end_those_before(self.started if before is None else before)
        if not self._continues:
            self._down(before, Cause.CAPTURE_DOWN if restarted else Cause.DAEMON_DOWN)
        for network in settings.public:
            self.journals.public(network, self._origin, None)
        self.vanished = Vanished(store / "namespaces.json", settings.where)
        self.journals.beside += [self.lasting, self.vanished]
        for name, inode in self.vanished.find():
            self.journals.listed(name, inode, self.started, self.started)
        self.pipeline = Pipeline(self.journals, shared, settings.protocols, clock)
        self.pipeline.narrow(settings.networks)
        self.lines: KernelLines | None = None
        if settings.lines is not None:
            self.lines = KernelLines(
                settings.lines, self.pipeline, self._header, log, after_crash=not self._continues, flushed=before
            )
            self.lasting.begin(None, Cause.LOG_ENGINE, self._origin)
        if settings.protocols or not settings.journals.starts:
            self.lasting.begin(None, Cause.LEFT_OUT, self._origin)
        self.requests = Requests()
        self.tables = Tables(self.pipeline, self.requests, clock)
        self.listings = Listings(self.tables, self.journals, clock, self._drain)
        self.starts = Starts(self.lasting, self.listings, settings.journals.starts and self.lines is None)
        self.repeats = Repeats(self.lasting, log, self._found)
        self.untracked = Untracked(self.lasting)
        self.tracking = Tracking(self.requests, self.lasting, self.pipeline.shared, clock, log)
        self.ruleset = Ruleset(self.requests, self.lasting, clock, log, self._found, self._judged, self.untracked)
        self._poll = select.epoll()
        self._by_events: dict[int, Namespace] = {}
        self._others: dict[int, Callable[[int], object]] = {}
        self._stopping = False
        self._unlisted: set[Namespace] = set()
        """Those whose first listing, or the last of one that is gone, is not in yet."""
        self._drained: set[Namespace] = set()
        """Those that something was read of since the last flush."""
        self._sheds = 0
        self._busiest = 0
        self._tick = self.started

    def _down(self, before: int | None, cause: Cause) -> None:
        """The time since the last flush; when the clock was set back meanwhile, what came twice is a gap as well."""
        if before is None or before <= self.started:
            self.journals.gap(Gap(None, before, self.started, Cause.NEVER_RECORDED if before is None else cause))
        else:
            self.journals.gap(Gap(None, self.started, self.started, cause))
            self.journals.gap(Gap(None, self.started, before, Cause.CLOCK_STEP))

    def stop(self) -> None:
        """End the loop at its next turn; safe in a signal handler."""
        self._stopping = True

    def run(self, channel: Channel) -> None:
        """Listen until `stop`, or until the keeper is gone."""
        self.channel = channel
        self._watch(channel.fileno(), self._keeper_speaks)
        channel.send(messages.Hello())
        self._flush(self.clock())  # what was lost before is on record before anything else can happen
        while not self._stopping:
            self._turn()
        self._finish()

    def _watch(self, descriptor: int, handle: Callable[[int], object]) -> None:
        self._others[descriptor] = handle
        self._poll.register(descriptor, select.EPOLLIN)

    def _turn(self) -> None:
        first = self._poll.poll(TURN, 1)
        if first and first[0][0] in self._by_events:
            time.sleep(BUSY_BUILD_UP if self._busiest >= BUSY else BUILD_UP)
        now, self._busiest = self._now(), 0
        for descriptor, _ in self._poll.poll(0):  # after `now`, up to when a flush says that all is recorded
            namespace = self._by_events.get(descriptor)
            if namespace is not None:
                self._busiest = max(self._busiest, self._drain(namespace, now))
            elif descriptor in self._others:
                self._others[descriptor](now)
        if self.journals.due(now, self.pipeline.waiting() or (self.lines is not None and self.lines.waiting())):
            self._flush(now)
        if now - self._tick >= SECOND:
            self._tick = now
            self._every_second(now)
        self._header[0] += np.uint64(1)

    def _now(self) -> int:
        """The wall clock; when it was set since the last look, that is a gap, and what is due stays due."""
        clocks = read(self.clock)
        for cause, start, end, by in moved(self._clocks, clocks):
            self.journals.gap(Gap(None, start, end, cause))
            self.log(f"{WARNING}the wall clock was set by {by / SECOND:+.3f} s" if by else "the machine was suspended")
            self._tick += by
            self.journals.stepped(by)
            self.requests.stepped(by)
            self.listings.stepped(by)
            self.starts.stepped(by)
            self.untracked.stepped(by)
            self.repeats.stepped(by)
            for namespace in self.namespaces.values():
                namespace.ask_again += by
                namespace.look_again += by
                namespace.looked += by
        self._clocks = clocks
        return clocks.wall

    def _drain(self, namespace: Namespace, now: int) -> int:
        self._drained.add(namespace)
        try:
            return self.pipeline.drain(namespace, now)
        except OSError as error:  # ENOBUFS cannot come (NETLINK_NO_ENOBUFS); anything else is told and survived
            self.log(f"{WARNING}cannot read events of {namespace.netns}: {error.strerror}; going on")
            return 0

    def _flush(self, now: int) -> None:
        for namespace in self.namespaces.values():
            if namespace.context.changed:
                namespace.context.changed = False
                self.pipeline.addresses_changed(namespace)
            self._collect(namespace)
        for namespace in self._drained & set(self.namespaces.values()):
            self._watch_drops(namespace, now)  # before a flush says that all was recorded until `now`
        self._drained.clear()
        self.pipeline.process(now)
        for code, families in self.pipeline.tracked().items() if self.settings.samples else ():
            if (tracked := self.pipeline.by_code[code]) is not None:
                tracked.seen |= families
        self.repeats.look(self.pipeline.columns, self.pipeline.by_code, self.journals.taken, now)
        if self.lines is not None:
            self.lines.flush(now)
        else:
            self.pipeline.flush(now)
        journals = self.journals
        self._header[1:9] = (
            *(journals.flushed, journals.flushes, journals.rows, journals.bytes_written(), journals.failing),
            *(journals.failing_since, journals.error, journals.waiting.rows),
        )

    def _collect(self, namespace: Namespace) -> None:
        for table, row in namespace.context.rows:
            self.journals.small[table].append(row)
        namespace.context.rows.clear()

    def _keeper_speaks(self, now: int) -> None:
        try:
            while (received := self._receive()) is not None:
                self._obey(*received, now)
        except EOFError:
            if self._others.pop(self.channel.fileno(), None) is not None:
                self._poll.unregister(self.channel.fileno())
                self.log(f"{ERROR}the keeper is gone; stopping")
            self.stop()

    def _receive(self) -> tuple[Message, list[int]] | None:
        while True:
            try:
                return self.channel.receive()
            except ValueError as error:
                self.log(f"{WARNING}the keeper said what this version does not know, and it is ignored: {error}")

    def _obey(self, message: Message, descriptors: list[int], now: int) -> None:
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        match message:
            case messages.Attach():
                self._attach(message, sockets, now)
            case messages.Detach(slot, why):
                self._detach(slot, why, now)
            case messages.Kmsg() if self.lines is not None:
                self._watch(self.lines.listen(sockets[0]), self.lines.read)
            case messages.Name(netns, inode) if self.lines is not None:
                self.lines.name(netns, inode)
            case messages.RulesetChanged(slot, since, legacy) if slot in self.namespaces:
                self.ruleset.changed(self.namespaces[slot], since, legacy)
            case messages.Invalid(slot) if slot in self.namespaces:
                self.untracked.counted(self.namespaces[slot], *message[1:])
            case messages.Sample(slot):
                self._listen(slot, sockets[0])
            case Gap():
                self._lost(message)

    def _lost(self, gap: Gap) -> None:
        """Record a gap that the keeper tells, and list again what something was lost of."""
        if gap.cause is not Cause.STARTS_OFF:
            self.lasting.take(gap)
        for namespace in [each for each in self.namespaces.values() if each.netns == gap.netns]:
            if gap.cause is Cause.STARTS_OFF and gap.end is None:
                self.starts.off(namespace, gap.start or 0)
            elif gap.cause is Cause.STARTS_OFF and gap.end is not None:
                self.starts.on(namespace, gap.end)
            elif Mark.RELISTS in gap.cause.marks and gap.end is not None:
                self.starts.lost(namespace, gap.end)
                self.listings.want(namespace, (gap.start or 0, gap.end) if gap.cause is Cause.EVENTS_OFF else None)

    def _listen(self, slot: int, sample: socket.socket) -> None:
        """The socket of a namespace's packets that are invalid."""
        namespace = self.namespaces.get(slot)
        if namespace is None or namespace.sample is not None:
            sample.close()
            return
        namespace.sample = sample
        self._watch(sample.fileno(), lambda now: packets.read(namespace, self.pipeline, now))

    def _tell_tracking(self, namespace: Namespace) -> None:
        """Tell the keeper of which families connection tracking runs without us, when that is known or changes."""
        if namespace.families is None:
            return
        alone = not namespace.by_rules and namespace.starts is None
        families = namespace.families | (namespace.seen if alone else frozenset())
        if families != namespace.told:
            namespace.told = families
            with contextlib.suppress(OSError):
                self.channel.send(messages.Tracks(namespace.slot, sorted(families)))

    def _found(self, namespace: Namespace, cause: Cause, what: str | None) -> None:
        """Have `anetcon status` say something of a namespace, or no longer."""
        with contextlib.suppress(OSError):  # the keeper is gone, and so is whoever would be told
            self.channel.send(messages.Remark(namespace.slot, cause, what))

    def _attach(self, told: messages.Attach, sockets: list[socket.socket], now: int) -> None:
        name, inode = told.netns, told.inode
        events, requests, route = sockets
        namespace = Namespace(
            slot=told.slot,
            netns=name,
            inode=inode,
            events=events,
            requests=requests,
            route=route,
            context=Context(self.settings.journals.node, name, inode),
            attached=told.attached,
            noticed=told.noticed,
            newborn=told.newborn,
            resumed=told.resumed,
        )
        self.namespaces[namespace.slot] = namespace
        was_here = not self._first or self.vanished.is_here(name, inode)
        self.vanished.begin(name, inode)
        debug("%s: listening, slot %d%s", name, namespace.slot, ", as before" if namespace.resumed else "")
        self.pipeline.add(namespace)
        self._by_events[namespace.events.fileno()] = namespace
        self._poll.register(namespace.events.fileno(), select.EPOLLIN)
        self._watch(namespace.requests.fileno(), lambda now: self.requests.readable(namespace, now))
        self._watch(namespace.route.fileno(), lambda now: self._route(namespace, now))
        began = min(now, max(namespace.attached, self._origin))  # what is there was there: nobody looked in between
        namespace.follow(began)
        self._route(namespace, began)  # the kernel has answered: no event is classified without the addresses
        namespace.drops = int(self.pipeline.shared[namespace.slot, DROPS])  # what the capture before saw; or none
        namespace.dropped = now if namespace.resumed else 0  # maybe: nobody looked since
        namespace.looked = self._before if namespace.resumed else namespace.attached
        self._watch_drops(namespace, now)
        if (name, Cause.STARTS_OFF) in self.lasting.left:
            self.starts.missed(namespace, self.started, now)
        if not (namespace.resumed and self._continues):
            record = self.lines is None
            self._unlisted.add(namespace)
            self.tables.opened(namespace, lambda opened: self._opened(namespace, opened), record=record)
            if record and was_here and (namespace.resumed or not namespace.newborn):
                self.listings.want(namespace)  # of those on record some may have ended meanwhile
        if name in self.settings.networks:
            self.lasting.begin(name, Cause.LEFT_OUT, began)
        again = self.lasting.end(name, Cause.DESELECTED, namespace.attached)
        if not again and not namespace.newborn and not namespace.resumed and namespace.attached > self.started:
            self.journals.gap(Gap(name, self.started, namespace.attached, Cause.NOT_ATTACHED))

    def _route(self, namespace: Namespace, now: int) -> None:
        namespace.read_route(now)
        if namespace.context.changed:
            namespace.context.changed = False
            self.pipeline.addresses_changed(namespace)
        if namespace.context.routes_unknown and not self.lasting.lasts(namespace.netns, Cause.ROUTES_UNKNOWN):
            self.lasting.begin(namespace.netns, Cause.ROUTES_UNKNOWN, now)
            why = f"more than {MOST_ROUTES} routes, or one that cannot be read"
            self.log(f"{WARNING}{namespace.netns} has {why}: none of them is recorded")

    def _opened(self, namespace: Namespace, opened: Opened | None) -> None:
        """The first dump is in: what it says about the time before."""
        self._unlisted.discard(namespace)
        namespace.active |= opened is not None and opened.found > 0
        if namespace.newborn and not namespace.resumed and (opened is None or opened.older):
            self.journals.gap(Gap(namespace.netns, namespace.noticed, namespace.attached, Cause.NOT_ATTACHED))
        if opened is None:
            self.log(
                f"{WARNING}cannot list the open connections of {namespace.netns}; those are recorded when they end"
            )

    def _detach(self, slot: int, why: str, now: int) -> None:
        namespace = self.namespaces.get(slot)
        if namespace is None:
            self.channel.send(messages.Detached(slot))
            return
        debug("%s: let go of (%s)", namespace.netns, why)
        self._drain(namespace, now)
        packets.read(namespace, self.pipeline, now)
        self._watch_drops(namespace, now)
        self._forget(namespace)
        if why == messages.GONE and self.lines is None:
            self._unlisted.add(namespace)
            self.tables.ended(namespace, lambda answered: self._gone(namespace, answered))
        elif why == messages.GONE:
            self.vanished.end(namespace.netns, namespace.inode)
            self._release(namespace)
        else:
            self.lasting.begin(namespace.netns, Cause.DESELECTED, now)
            self._release(namespace)

    def _gone(self, namespace: Namespace, answered: bool) -> None:
        now = self.clock()
        self._drain(namespace, now)
        if not answered:
            self.journals.gap(Gap(namespace.netns, self.journals.taken, now, Cause.NAMESPACE_GONE))
            self.journals.listed(namespace.netns, namespace.inode, now, now)
        self.starts.gone(namespace, now, whole=answered and now - namespace.dropped >= SETTLED)
        self.vanished.end(namespace.netns, namespace.inode)
        self._release(namespace)

    def _forget(self, namespace: Namespace) -> None:
        """Ask it nothing more, and expect nothing."""
        self.requests.forget(namespace)
        self.listings.forget(namespace)
        self.repeats.forget(namespace)

    def _release(self, namespace: Namespace) -> None:
        now = self.clock()
        self._forget(namespace)  # a second may have passed since it was detached, with questions of its own
        self.pipeline.process(now)  # its events are decoded while its code still has its name
        self.starts.gone(namespace, now, whole=False)
        self.untracked.forget(namespace)
        self.lasting.end_local(namespace.netns, now)
        namespace.context.close(now)
        self._collect(namespace)
        self.pipeline.remove(namespace)
        self._unlisted.discard(namespace)
        del self.namespaces[namespace.slot]
        del self._by_events[namespace.events.fileno()]
        for sock in (namespace.requests, namespace.route, namespace.sample):
            if sock is not None:
                del self._others[sock.fileno()]
        namespace.close()
        self.channel.send(messages.Detached(namespace.slot))

    def _every_second(self, now: int) -> None:
        self.requests.tick(now)
        self.channel.flush()
        for namespace in self.namespaces.values():
            for interface in namespace.context.tick(now):
                self.log(
                    f"{WARNING}{namespace.netns}: more than {flood.MOST} neighbours a minute appear on {interface}; "
                    "see who floods it. Their MAC addresses are not all recorded",
                )
            namespace.ask_route(now)
        for namespace in list(self.namespaces.values()) if self.lines is None else ():
            self._watch_drops(namespace, now)
            self.tracking.look(namespace, now, int(self.settings.period * SECOND))
            self.tables.look_again(namespace, now)
            if self.settings.samples:
                self._tell_tracking(namespace)
        if self._sheds != self.journals.sheds and not self.journals.failing:
            self._sheds = self.journals.sheds
            for namespace in self.namespaces.values() if self.lines is None else ():
                self.starts.missed(namespace, self.journals.shed_at, now)
                self.starts.lost(namespace, now)
                self.listings.want(namespace)
        self.starts.tick(now)
        self.untracked.tick(now)
        for namespace, begun in self.listings.tick(now):
            self.starts.listed(namespace, begun)

    def _watch_drops(self, namespace: Namespace, now: int) -> None:
        """Publish the drop counter. What was dropped since the last look may have been starts; while the kernel does
        not hold ends back, it is what was lost."""
        drops, before, namespace.looked = _drops(namespace), namespace.looked, now
        if drops == namespace.drops or self.lines is not None:
            return
        now = self.clock()  # after the counter was read: whoever was held up before that lost more meanwhile
        lost, namespace.drops, namespace.dropped = (drops - namespace.drops) & 0xFFFFFFFF, drops, now
        self.pipeline.shared[namespace.slot, DROPS] = drops
        if not self.settings.hold:
            self.journals.gap(Gap(namespace.netns, before, now, Cause.OVERRUN, lost))
            self.starts.lost(namespace, now)
            self.listings.want(namespace)
        self.starts.missed(namespace, before if self.settings.hold else now, now)

    def _judged(self, namespace: Namespace, tracks: bool, since: int) -> None:
        if self.lines is None:
            self.tracking.judged(namespace, tracks, since)

    def _read_held_back(self) -> None:
        """In hold the kernel keeps the ends that a full socket had no room for, and tries again: nobody would be told
        of them when it is closed. All are read meanwhile: what nobody reads is soon full, too."""
        if not self.settings.hold or self.lines is not None:
            return
        begun, recently = time.monotonic(), self.clock() - SETTLED
        waiting = {each: begun for each in self.namespaces.values() if each.dropped > recently}
        while True:
            now = self._now()
            for namespace in self.namespaces.values():
                drops, namespace.drops = namespace.drops, _drops(namespace)
                taken = self._drain(namespace, now)
                if drops != namespace.drops or (taken and namespace in waiting):
                    waiting[namespace] = time.monotonic()
                elif namespace in waiting and time.monotonic() - waiting[namespace] >= CALM:
                    del waiting[namespace]
            if not waiting or time.monotonic() - begun >= PATIENCE:
                return
            self._header[0] += np.uint64(1)
            time.sleep(REPEAT)

    def _hear_all(self) -> None:
        """Do what the keeper said before it said stop: a count of what was lost, a namespace that is gone, whose table
        nobody can list later, and, to a capture that had hardly begun, the sockets themselves."""
        begun = time.monotonic()
        self._keeper_speaks(self._now())
        while self._unlisted and time.monotonic() - begun < PATIENCE:
            self._turn()

    def _finish(self) -> None:
        """Read what waits, flush it, close the segments: a next capture goes on without a gap."""
        self._hear_all()
        self._read_held_back()
        now = self.clock()
        for namespace in self.namespaces.values():
            self._drain(namespace, now)
            packets.read(namespace, self.pipeline, now)
            self._watch_drops(namespace, now)
            namespace.context.close(now)
        for network in self.settings.public:
            self.journals.public(network, self._origin, now)
        if self.lines is not None:
            self.lines.read_all(now)
        self.untracked.end_all()
        self.lasting.end_all(now)
        self._flush(now)
        self.journals.close()


def _drops(namespace: Namespace) -> int:
    packed = namespace.events.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
    return int(struct.unpack("=9I", packed)[8])
