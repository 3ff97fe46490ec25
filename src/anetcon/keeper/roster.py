"""The namespaces that are audited, in every state: what is there is attached, what is gone is let go of.

`reconcile` brings them in line with what is there; whoever holds the other end of the channel is told. Refuses to know
processes: how messages travel is given by the keeper.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path

from anetcon.gaps import Cause
from anetcon.keeper import announce, attach
from anetcon.keeper.hold import Guard
from anetcon.keeper.host import Host
from anetcon.keeper.namespace import Namespace, Refusal, Stage
from anetcon.keeper.namespaces import Seen
from anetcon.keeper.shared import SLOTS
from anetcon.link import descriptors, messages
from anetcon.link.ledger import Sysctls
from anetcon.link.messages import Message
from anetcon.link.settings import DEFAULT, Settings
from anetcon.netlink import ct_sysctls
from anetcon.system.clock import now_us
from anetcon.system.report import ERROR, WARNING, debug, report

GONE_SECONDS, GONE_MOST = 3600, 100
"""How long, and how many, namespaces that are gone are still listed."""

Send = Callable[[Message, Sequence[int]], None]
Each = Callable[[Namespace], None]


class Roster:
    """Every namespace. `missing` says why one has to wait for its LOG rules: "" while they are being written, None
    where nothing is missing."""

    def __init__(
        self, host: Host, settings: Settings, guard: Guard, send: Send, missing: Callable[[Namespace], str | None]
    ) -> None:
        self.namespaces: dict[str, Namespace] = {}
        """Those that are there, by name."""
        self.attached: dict[int, Namespace] = {}
        """Those of them that are attached, by slot."""
        self.draining: dict[int, Namespace] = {}
        """Those that capture was told to let go of and has not yet, by slot."""
        self.gone: deque[Namespace] = deque(maxlen=GONE_MOST)
        self.capture_works = False
        self.announcer = announce.Announcer()
        self._host = host
        self._settings = settings
        self._send = send
        self._missing = missing
        self._guard = guard
        self._anew: dict[tuple[str, int], tuple[bool, int]] = {}
        """What was let go of for another engine: whether it had been handed over, and when it was let go of (us)."""
        self._by_inode: dict[int, Namespace] = {}
        """Those that are attached."""
        self._buffers = attach.Buffers()

    def use(self, settings: Settings) -> None:
        """These are the settings now."""
        self._settings = settings
        for namespace in self.namespaces.values():
            namespace.move(settings.netns_dir)

    def reconcile(self, names: Set[str], present: Mapping[str, Seen], leaving: Each) -> None:
        """Of these names let go of what is not there any more, having called `leaving` for it; attach what is new."""
        for name in names & self.namespaces.keys():
            namespace, seen = self.namespaces[name], present.get(name)
            if seen is None or seen.inode != namespace.inode:
                what = announce.GONE if _selects(self._settings, namespace) else announce.DESELECTED
                if namespace.state is not Stage.FOUND:
                    self.announcer.tell(what, namespace.netns)
                self._let_go(namespace, leaving, listed=what == announce.GONE)
        for name, seen in present.items():
            if name not in self.namespaces:
                path = None if name == DEFAULT else Path(self._settings.netns_dir, name)
                namespace = self.namespaces[name] = Namespace(path, seen)
                debug("%s: found, inode %d, %s", name, seen.inode, "new" if seen.newborn else "there before us")
                if (name, seen.inode) in self._anew:
                    namespace.continues(*self._anew[name, seen.inode])
                self._tell_name(namespace)
                self.try_again(namespace)
        self._anew.clear()

    def missed(self, name: str, since: int) -> None:
        """Tell of a namespace that came and went without having been seen."""
        unseen = Namespace(Path(self._settings.netns_dir, name), Seen(0, newborn=True, noticed=since))
        self._send(unseen.gap(now_us()), ())

    def retry(self) -> None:
        """Try again to attach what could not be attached; tidy up."""
        with contextlib.suppress(OSError):
            self._host.ledger.prune({(each.netns, each.inode) for each in self.namespaces.values()})
        for namespace in list(self.namespaces.values()):
            self.try_again(namespace)

    def try_again(self, namespace: Namespace) -> None:
        """Attach it, if that is to be done: what it waited for may have come, or cannot."""
        if namespace.state not in (Stage.FOUND, Stage.REFUSED):
            return
        try:
            self._attach(namespace)
        except OSError as error:
            if error.errno == errno.ENOENT and error.filename == str(namespace.path):
                return  # it is going: the listing will tell
            self._refuse(namespace, Refusal(_reason(error), Cause.NOT_ATTACHED))

    def start_capture(self) -> None:
        """Tell a new capture everything: the one before is gone, and whatever it was about to tell."""
        self.capture_works = False
        for slot in list(self.draining):
            self.detached(slot)
        for namespace in (*self.gone, *self.namespaces.values()):
            self._tell_name(namespace)
        for namespace in self.namespaces.values():
            namespace.forget_remarks()
            if namespace.state is Stage.ATTACHED:
                self._hand_over(namespace)
            elif namespace.state is Stage.REFUSED:
                self._send(namespace.gap(None), ())

    def capture_said_hello(self) -> None:
        """Capture works: what it was handed it has."""
        self.capture_works = True
        for namespace in self.namespaces.values():
            namespace.heard_of()

    def replace_capture(self) -> None:
        """Another one is to come: until it says hello nothing is handed to one that works."""
        self.capture_works = False

    def detached(self, slot: int) -> None:
        """Capture let go of a namespace: its slot is free."""
        namespace = self.draining.pop(slot, None)
        if namespace is not None:
            namespace.drained(self._host.shared.release(slot))

    def forget_old(self) -> None:
        """List no more what is gone for long."""
        while self.gone and self.gone[0].since < now_us() - GONE_SECONDS * 1_000_000:
            self.gone.popleft()

    def tell_end(self) -> None:
        """The daemon ends: what was not attached until now is a gap of its own no more."""
        for namespace in self.namespaces.values():
            if namespace.state is Stage.REFUSED:
                self._send(namespace.gap(now_us()), ())

    def let_go(self, leaving: Each) -> None:
        """Let go of every namespace, for another engine: what is there is attached anew by `reconcile`."""
        now = now_us()
        self._anew = {(each.name, each.inode): (each.handed, now) for each in self.attached.values()}
        for namespace in list(self.namespaces.values()):
            self._let_go(namespace, leaving, listed=False)

    def restore(self, namespaces: Sequence[Namespace], gone: Sequence[Namespace]) -> None:
        """List what was there, and gone, before this program was re-executed."""
        for namespace in namespaces:
            if namespace.state is Stage.DRAINING:
                self.draining[namespace.slot] = namespace
                continue
            self.namespaces[namespace.name] = namespace
            if namespace.attachment is not None:
                self.attached[namespace.slot] = self._by_inode[namespace.inode] = namespace
                self._buffers.add(namespace.attachment)
        self.gone.extend(gone)

    def _let_go(self, namespace: Namespace, leaving: Each, *, listed: bool) -> None:
        del self.namespaces[namespace.name]
        debug("%s: %s", namespace.netns, "gone" if listed else "audited no more, as it is configured")
        now, attachment = now_us(), namespace.attachment
        if attachment is not None:
            leaving(namespace)
            self._send(messages.Detach(namespace.slot, messages.GONE if listed else Cause.DESELECTED), ())
            self._buffers.remove(attachment)
            del self._by_inode[namespace.inode], self.attached[namespace.slot]
            self.draining[namespace.slot] = namespace
        else:  # it may also have gone before it could be entered
            self._send(namespace.gap(now), ())
        namespace.let_go(now)
        if listed:
            self.gone.append(namespace)

    def _refuse(self, namespace: Namespace, refusal: Refusal, what: str = "enter") -> None:
        before = namespace.refusal
        namespace.refuse(refusal)
        if before is None:
            self._send(namespace.gap(None), ())
        if before is None or before.why != refusal.why:
            again = f"retrying in {self._settings.period:g} s"
            report(f"{ERROR}cannot {what} {namespace.netns}: {refusal.why}; {again}")

    def _attach(self, namespace: Namespace) -> None:
        settings, shared = self._settings, self._host.shared
        if (twin := self._by_inode.get(namespace.inode)) is not None:
            raise OSError(errno.EBUSY, f"it is the same namespace as {twin.netns}, under which it is recorded")
        if shared.full:
            raise OSError(errno.ENOSPC, f"{SLOTS} namespaces are audited already, which is the most")
        if len(self.attached) >= descriptors.most_namespaces(settings.record_invalid):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        why = self._missing(namespace)
        if why is not None:
            if why:
                self._refuse(namespace, Refusal(why, Cause.RULES_MISSING), "audit")
            return
        ask = self._buffers.ask(settings)
        with self._host.home.entered(namespace.path) as inode:
            if settings.kind.events:
                found = ct_sysctls.read_sysctls()
                self._save(namespace, inode, found)
                ct_sysctls.switch_on(found)
            attachment = attach.open_sockets(ask, settings.starts, ends=settings.kind.events)
        self._buffers.add(attachment)
        self._buffers.complain(namespace.netns, attachment.granted, ask, settings)
        ended = namespace.attach(shared.take(), inode, attachment, now_us())
        self.attached[namespace.slot] = self._by_inode[inode] = namespace
        if settings.hold:
            self._guard.add(namespace)
        self._hand_over(namespace)
        self.announcer.tell(announce.ATTACHED, namespace.netns)
        debug("%s: attached, slot %d, buffer %d bytes", namespace.netns, namespace.slot, attachment.granted // 2)
        if ended is not None:
            self._send(ended, ())

    def _save(self, namespace: Namespace, inode: int, found: dict[str, str]) -> None:
        try:
            self._host.ledger.note(Sysctls(namespace.netns, inode, found))
        except OSError as error:  # no reason not to audit
            report(
                f"{WARNING}cannot write {self._host.ledger.path}: {_reason(error)}; "
                "uninstalling will not restore the sysctls"
            )

    def _hand_over(self, namespace: Namespace) -> None:
        assert namespace.attachment is not None  # noqa: S101  (for the type checker)
        seen = namespace.seen
        told = (namespace.netns, seen.inode, seen.noticed, namespace.since, seen.newborn, namespace.handed)
        self._send(messages.Attach(namespace.slot, *told), namespace.attachment.handed())
        namespace.hand_over(self.capture_works)

    def _tell_name(self, namespace: Namespace) -> None:
        """Kernel lines carry a hash of the name only, and may come before the namespace is handed over."""
        if self._settings.kind.kernel_log:
            self._send(messages.Name(namespace.netns, namespace.inode), ())


def _selects(settings: Settings, namespace: Namespace) -> bool:
    return settings.with_default if namespace.path is None else settings.selects(namespace.name)


def _reason(error: OSError) -> str:
    """Why, in words; those of the kernel where no better ones are known."""
    known = {errno.EMFILE: "too many open files: raise LimitNOFILE", errno.EINVAL: "it is no network namespace"}
    text = error.strerror or str(error)
    where = f"{error.filename}: " if str(error.filename).startswith("/proc/sys/") else ""
    return where + known.get(error.errno or 0, text[:1].lower() + text[1:])
