"""The audited namespaces: what each one's state is, its sockets, its slot in the shared counters.

`reconcile` brings them in line with what is there; whoever holds the other end of the channel is told. Refuses to know
processes: how messages travel and who guards is given by the keeper.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from anetcon.gaps import Cause, Gap
from anetcon.keeper import announce, attach
from anetcon.keeper.attach import Sockets
from anetcon.keeper.hold import Guard
from anetcon.keeper.namespaces import Found
from anetcon.keeper.shared import SLOTS, Shared
from anetcon.link import counters, descriptors, messages
from anetcon.link.ledger import Ledger, Sysctls
from anetcon.link.messages import Message
from anetcon.link.settings import DEFAULT, Settings
from anetcon.netlink import ct_sysctls
from anetcon.system.clock import now_us
from anetcon.system.netns import Home
from anetcon.system.printable import recorded
from anetcon.system.report import ERROR, WARNING, debug

GONE_SECONDS, GONE_MOST = 3600, 100
"""How long, and how many, namespaces that are gone are still listed."""

FOUND_MOST, FOUND_LONGEST = 16, 1000
"""Of what capture finds to be said of a namespace: how many things, and characters of each."""

Send = Callable[[Message, Sequence[int]], None]


class Audited:
    """One namespace. With `sockets` it is attached; without, it is tried again every period."""

    def __init__(self, name: str, found: Found) -> None:
        self.name = name
        self.netns = recorded(name)
        """The name in records, and wherever else it is written or sent: printable text, whatever bytes a file has."""
        self.inode = found.inode
        self.noticed = found.noticed
        self.newborn = found.newborn
        self.attached = 0
        self.gone = 0
        self.message: str | None = None
        """Why it cannot be attached."""
        self.found: dict[str, str] = {}
        """What capture found to be said of it, by cause."""
        self.cause = Cause.NOT_ATTACHED
        """The cause of the gap that lasts until it can be."""
        self.rules_checked = self.rules_repaired = 0
        """When its LOG rules were last found or made right, and when something was wrong with them."""
        self.closing: Callable[[], None] = lambda: None
        """Closes what else is open in it."""
        self.untracked: int | None = None
        """How many packets the kernel had called invalid when that was read last, at `untracked_seen`."""
        self.untracked_seen = 0
        self.untracked_last: tuple[int, int] | None = None
        """Between which looks some were counted last."""
        self.tracks: frozenset[str] | None = None
        """Of which families (`ip`, `ip6`) connection tracking runs without us, as capture said; None: it has not."""
        self.left: dict[str, int] = {}
        """By family, how many packets that are invalid had left when that was read last: where our table stands."""
        self.slot = -1
        self.sockets: Sockets | None = None
        self.anew = False
        """Whether it was attached until this moment, under another engine."""
        self.handed = False
        """Whether a capture that had begun to work was handed the sockets."""
        self.counters: tuple[int, ...] = (0,) * len(counters.SLOT)
        """What its slot said last, once it has none."""


class Roster:
    """Every namespace that is audited, by name; and those that are gone."""

    def __init__(
        self,
        settings: Settings,
        home: Home,
        shared: Shared,
        guard: Guard,
        ledger: Ledger,
        send: Send,
        report: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.audited: dict[str, Audited] = {}
        self.gone: deque[Audited] = deque(maxlen=GONE_MOST)
        self.past = [0] * len(counters.SLOT)
        """Sums of the counters of namespaces that have no slot any more."""
        self.capture_works = False
        self.rules_missing: Callable[[Audited], str | None] = lambda _: None
        """Why a namespace has to wait for its LOG rules; "" while they are being written."""
        self._home = home
        self._shared = shared
        self._guard = guard
        self._ledger = ledger
        self._send = send
        self._report = report
        self.announcer = announce.Announcer(report)
        self.draining: dict[int, Audited] = {}
        """By slot: what capture was told to let go of, and has not yet."""
        self._anew: dict[tuple[str, int], tuple[bool, int]] = {}
        """What was let go of for another engine: whether it had been handed over, and when it was let go of (us)."""
        self._inodes: dict[int, str] = {}
        self._free = list(range(SLOTS - 1, -1, -1))
        self._buffers = 0
        self._floor_told = False

    def path(self, name: str) -> Path | None:
        """Where to enter a namespace; None for the daemon's own."""
        return None if name == DEFAULT else Path(self.settings.netns_dir, name)

    def reconcile(self, present: Mapping[str, Found]) -> None:
        """Let go of what is not there any more, attach what is new."""
        for name, audited in list(self.audited.items()):
            found = present.get(name)
            if found is None or found.inode != audited.inode:
                self._let_go(audited)
                if audited.attached or audited.message is not None:
                    self.announcer.tell(announce.GONE if self._selects(audited) else announce.DESELECTED, audited.netns)
        for name, found in present.items():
            if name not in self.audited:
                audited = self.audited[name] = Audited(name, found)
                debug("%s: found, inode %d, %s", name, found.inode, "new" if found.newborn else "there before us")
                if (name, audited.inode) in self._anew:
                    audited.anew = True
                    audited.handed, audited.noticed = self._anew[name, audited.inode]
                self._tell_name(audited)
                self._try(audited)
        self._anew.clear()

    def missed(self, name: str, since: int) -> None:
        """Tell of a namespace that came and went without having been seen."""
        unseen = Audited(name, Found(0, newborn=True))
        unseen.noticed = since
        self._tell_not_attached(unseen, now_us())

    def retry(self) -> None:
        """Try again to attach what could not be attached; tidy up."""
        with contextlib.suppress(OSError):
            self._ledger.prune({(audited.netns, audited.inode) for audited in self.audited.values()})
        for audited in list(self.audited.values()):
            if audited.sockets is None:
                self._try(audited)

    def hand_over_again(self) -> None:
        """Tell a new capture everything: the one before is gone, and whatever it was about to tell."""
        self.capture_works = False
        for slot in list(self.draining):
            self.detached(slot)
        for each in (*self.gone, *self.audited.values()):
            self._tell_name(each)
        for audited in self.audited.values():
            audited.found.clear()
            if audited.sockets is not None:
                self._hand_over(audited, audited.sockets)
            elif audited.message is not None:
                self._tell_not_attached(audited, None)

    def capture_said_hello(self) -> None:
        """Capture works: what it was handed it has."""
        self.capture_works = True
        for audited in self.audited.values():
            audited.handed = audited.sockets is not None

    def detached(self, slot: int) -> None:
        """Capture let go of a namespace: its slot is free."""
        audited = self.draining.pop(slot, None)
        if audited is not None:
            audited.counters = self._shared.row(slot)
            audited.slot = -1
            self.past = [a + b for a, b in zip(self.past, audited.counters, strict=True)]
            self._free.append(slot)

    def found(self, slot: int, cause: str, what: str | None) -> None:
        """Something is to be said of a namespace, or (None) no longer."""
        cause = cause[:FOUND_LONGEST]
        for audited in self.audited.values():
            if audited.slot == slot:
                audited.found.pop(cause, None)
                if what is not None and len(audited.found) < FOUND_MOST:
                    audited.found[cause] = what[:FOUND_LONGEST]

    def tracks(self, slot: int, families: frozenset[str]) -> None:
        """Of which families connection tracking runs in a namespace."""
        for audited in self.audited.values():
            if audited.slot == slot:
                audited.tracks = families

    def forget_old(self) -> None:
        """List no more what is gone for long."""
        while self.gone and self.gone[0].gone < now_us() - GONE_SECONDS * 1_000_000:
            self.gone.popleft()

    def _let_go(self, audited: Audited, deselected: bool = False) -> None:
        """Close everything at once: a socket of ours would keep the namespace alive."""
        del self.audited[audited.name]
        selected = not deselected and self._selects(audited)
        debug("%s: %s", audited.netns, "gone" if selected else "audited no more, as it is configured")
        audited.gone = now_us()
        if audited.sockets is not None:
            self._guard.remove(audited.slot)
            audited.closing()
            self._send(messages.Detach(audited.slot, messages.GONE if selected else Cause.DESELECTED), ())
            self._buffers -= audited.sockets.granted
            audited.sockets.close()
            audited.sockets = None
            del self._inodes[audited.inode]
            self.draining[audited.slot] = audited
        elif audited.message is not None or not audited.attached:  # it may also have gone before it could be entered
            self._tell_not_attached(audited, audited.gone)
        if selected:
            self.gone.append(audited)

    def _selects(self, audited: Audited) -> bool:
        return self.settings.with_default if audited.name == DEFAULT else self.settings.selects(audited.name)

    def try_again(self, audited: Audited) -> None:
        """What it waited for has come, or cannot."""
        if audited.sockets is None and self.audited.get(audited.name) is audited:
            self._try(audited)

    def _try(self, audited: Audited) -> None:
        try:
            self._attach(audited)
        except OSError as error:
            if error.errno == errno.ENOENT and error.filename == str(self.path(audited.name)):
                return  # it is going: the listing will tell
            self._failed(audited, _reason(error))

    def _failed(self, audited: Audited, why: str, what: str = "enter", cause: Cause = Cause.NOT_ATTACHED) -> None:
        if audited.message is None:
            audited.cause = cause
            self._tell_not_attached(audited, None)
        if why != audited.message:
            self._report(f"{ERROR}cannot {what} {audited.netns}: {why}; retrying in {self.settings.period:g} s")
        audited.message = why

    def _attach(self, audited: Audited) -> None:
        if audited.inode in self._inodes:
            twin = self._inodes[audited.inode]
            raise OSError(errno.EBUSY, f"it is the same namespace as {twin}, under which it is recorded")
        if not self._free:
            raise OSError(errno.ENOSPC, f"{SLOTS} namespaces are audited already, which is the most")
        if len(self._inodes) >= descriptors.most_namespaces(self.settings.record_invalid):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        why = self.rules_missing(audited)
        if why is not None:
            if why:
                self._failed(audited, why, "audit", Cause.RULES_MISSING)
            return
        wanted = self.settings.buffer_bytes
        ask = attach.buffer_to_ask(wanted, self.settings.buffers_total_bytes, self._buffers)
        with self._home.entered(self.path(audited.name)) as audited.inode:
            if self.settings.kind.events:
                found = ct_sysctls.read_sysctls()
                self._save(audited, found)
                ct_sysctls.switch_on(found)
            sockets = attach.open_sockets(ask, self.settings.starts, ends=self.settings.kind.events)
        self._account(audited, sockets, wanted, ask)
        audited.sockets = sockets
        audited.slot = self._free.pop()
        audited.attached = now_us()
        self._inodes[audited.inode] = audited.netns
        self._shared.clear(audited.slot)
        if self.settings.hold:
            self._guard.add(audited.slot, audited.netns, sockets.events, sockets.stats)
        self._hand_over(audited, sockets)
        self.announcer.tell(announce.ATTACHED, audited.netns)
        debug("%s: attached, slot %d, receive buffer %d bytes", audited.netns, audited.slot, sockets.granted // 2)
        if audited.message is not None:
            self._tell_not_attached(audited, audited.attached)
            audited.message = None

    def _save(self, audited: Audited, found: dict[str, str]) -> None:
        try:
            self._ledger.note(Sysctls(audited.netns, audited.inode, found))
        except OSError as error:  # no reason not to audit
            self._report(
                f"{WARNING}cannot write {self._ledger.path}: {_reason(error)}; "
                "uninstalling will not restore the sysctls"
            )

    def _account(self, audited: Audited, sockets: Sockets, wanted: int, asked: int) -> None:
        self._buffers += sockets.granted
        if sockets.granted < 2 * asked:
            self._report(
                f"{WARNING}{audited.netns}: the kernel grants a receive buffer of {sockets.granted // 2} bytes only"
            )
        if asked == attach.FLOOR_BYTES < wanted and not self._floor_told:
            self._floor_told = True
            self._report(
                f"{WARNING}the receive buffers reach {self.settings.buffers_total_bytes} bytes: from here on a "
                f"namespace gets {asked}; raise audit.buffers_total_bytes if the machine has the memory"
            )

    def _hand_over(self, audited: Audited, sockets: Sockets) -> None:
        told = (audited.netns, audited.inode, audited.noticed, audited.attached, audited.newborn, audited.handed)
        self._send(messages.Attach(audited.slot, *told), sockets.handed())
        audited.handed = audited.handed or self.capture_works

    def _tell_name(self, audited: Audited) -> None:
        """Kernel lines carry a hash of the name only, and may come before the namespace is handed over."""
        if self.settings.kind.kernel_log:
            self._send(messages.Name(audited.netns, audited.inode), ())

    def _tell_not_attached(self, audited: Audited, to: int | None) -> None:
        self._send(Gap(audited.netns, audited.noticed, to, audited.cause), ())

    def attached(self) -> list[tuple[Audited, Sockets]]:
        """What is attached, with its sockets."""
        return [(audited, audited.sockets) for audited in self.audited.values() if audited.sockets is not None]

    def take(self, audited: Audited, sockets: Sockets) -> None:
        """List a namespace that was attached before this program was re-executed."""
        self._free.remove(audited.slot)
        audited.sockets = sockets
        self.audited[audited.name] = audited
        self._inodes[audited.inode] = audited.netns
        self._buffers += sockets.granted

    def take_draining(self, audited: Audited) -> None:
        """Keep the slot of a namespace that was let go of before this program was re-executed."""
        self._free.remove(audited.slot)
        self.draining[audited.slot] = audited

    def tell_end(self) -> None:
        """The daemon ends: what was not attached until now is a gap of its own no more."""
        for audited in self.audited.values():
            if audited.sockets is None and audited.message is not None:
                self._tell_not_attached(audited, now_us())

    def let_go(self) -> None:
        """Let go of every namespace, for another engine: what is there is attached anew by `reconcile`."""
        now = now_us()
        self._anew = {(audited.name, audited.inode): (audited.handed, now) for audited, _ in self.attached()}
        for audited in list(self.audited.values()):
            self._let_go(audited, deselected=True)

    def close(self) -> None:
        """Let go of everything."""
        for audited, sockets in self.attached():
            self._guard.remove(audited.slot)
            sockets.close()
        self.audited.clear()


def _reason(error: OSError) -> str:
    """Why, in words; those of the kernel where no better ones are known."""
    known = {errno.EMFILE: "too many open files: raise LimitNOFILE", errno.EINVAL: "it is no network namespace"}
    text = error.strerror or str(error)
    where = f"{error.filename}: " if str(error.filename).startswith("/proc/sys/") else ""
    return where + known.get(error.errno or 0, text[:1].lower() + text[1:])
