"""That the LOG rules stand in every audited namespace: written before it is handed over, looked at every period and
soon after the kernel tells of a change, taken away in the end.

A check runs in a child (errands). It starts once the ruleset has been quiet for a moment: another program that saves,
edits and restores the table is then not in the middle of it. If it is never quiet, the check comes right after a
commit, which is when another program is least likely to be. The generation at which all was right is remembered: a
ruleset that still has it needs no look, and notifications of our own writes end there.

Refuses to wait, and to know how rules are written: anetcon.rules does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from anetcon.gaps import Cause, Gap
from anetcon.keeper.handover import KeptRules
from anetcon.keeper.jobs import Errand, Errands
from anetcon.keeper.log_engine.nf_log import Printing
from anetcon.keeper.loop import Loop, Timer
from anetcon.keeper.roster import Audited
from anetcon.link.ledger import Ledger, LogRules
from anetcon.link.log_switch import Switch
from anetcon.link.settings import Settings
from anetcon.netlink import generation as netlink
from anetcon.netlink.generation import Watch
from anetcon.rules import work
from anetcon.rules.outcome import Outcome, Spelling
from anetcon.rules.wording import Wanted
from anetcon.system.clock import now_us
from anetcon.system.netns import Home
from anetcon.system.report import ERROR, NOTICE, WARNING, debug, report

QUIET_SECONDS = 0.2
LATEST_SECONDS = 3.0
CHILDREN_AT_END = 8
"""Taking rules away is mostly waiting for the kernel."""

RECENT_SECONDS, RECENT_MOST = 30.0, 1000
"""Gaps told of so lately, and as many, are told again to a new capture; a gap told twice is one."""

_KEPT = [name for name in KeptRules._fields if name not in ("inode", "wanted")]


class Standing:
    """The rules of one namespace. Times in us, as in records, but `first` and `last`, which are monotonic."""

    def __init__(self, audited: Audited, path: Path | None, wanted: Wanted) -> None:
        self.audited = audited
        self.inode = audited.inode
        self.path = path
        self.wanted = wanted
        self.watch: Watch | None = None
        self.generation: int | None = None
        """At which all was right; None until it was."""
        self.told: int | None = None
        """The generation heard of last."""
        self.checked = 0
        self.legacy = False
        self.spelling: Spelling = {}
        self.error: str | None = None
        self.missing: int | None = None
        """Since when a lasting gap says that the rules are missing."""
        self.since: int | None = None
        """When what nobody has looked at yet changed."""
        self.first = self.last = 0.0
        self.timer: Timer | None = None
        self.running = self.again = self.smooth = False
        """A check is under way; is to follow it; replaces rules of ours by others without a gap."""

    @property
    def attached(self) -> bool:
        """Whether the namespace is handed over, and not waiting for its rules."""
        return self.audited.sockets is not None

    @property
    def relied_on(self) -> bool:
        """Whether connections are recorded there, or were until now by another engine."""
        return self.attached or self.audited.anew

    def close(self, loop: Loop) -> None:
        """Hear of no change any more."""
        if self.timer is not None:
            self.timer.cancel()
        if self.watch is not None:
            loop.unwatch(self.watch.fileno())
            self.watch.close()
            self.watch = None


class Rules:
    """The rules of every namespace. `send` takes a gap, `stood` hears when rules stand, or cannot."""

    def __init__(
        self,
        settings: Settings,
        loop: Loop,
        errands: Errands,
        home: Home,
        ledger: Ledger,
        path: Callable[[str], Path | None],
        send: Callable[[Gap], None],
    ) -> None:
        self.settings = settings
        self._send = send
        self.stood: Callable[[Audited], None] = lambda _: None
        self._loop = loop
        self._errands = errands
        self._home = home
        self._path = path
        self._ledger = ledger
        self._unwritten = False
        self._printing = Printing(Switch(home, ledger), self._tell_dark)
        self._standing: dict[int, Standing] = {}
        self._visited: set[int] = set()
        """Inodes of namespaces that a child is to visit or is in: one at a time."""
        self._recent: deque[tuple[float, Gap]] = deque(maxlen=RECENT_MOST)
        """When (monotonic) which gap that is over was told of."""
        self._ending = False

    def missing(self, audited: Audited) -> str | None:
        """Why a namespace cannot be handed over yet: "" while its rules are being written; None when they stand."""
        if not self.settings.kind.rules:
            return None
        if self._ending:
            return ""
        problem = self._printing.problem(audited.inode)
        if problem is not None:
            return problem
        standing = self._standing.get(audited.inode)
        if standing is not None and standing.audited.name != audited.name:
            return f"it is the same namespace as {standing.audited.netns}, under which it is recorded"
        if standing is not None and standing.audited is not audited:  # attached anew
            standing.close(self._loop)
            standing = None
        if standing is None:
            standing = self._begin(audited)
        if standing.error is not None:
            return standing.error
        return "" if standing.generation is None else None

    def keep(self, present: Iterable[Audited]) -> None:
        """These are the audited namespaces, with the settings as they are now; no other has rules of ours."""
        if self._ending:
            return
        listed = {audited.inode: audited for audited in present} if self.settings.kind.rules else {}
        for inode, standing in list(self._standing.items()):
            if inode not in listed or listed[inode] is not standing.audited:
                standing.close(self._loop)
                del self._standing[inode]
        for audited in listed.values():
            if audited.inode in self._standing:
                self._adapt(self._standing[audited.inode])
            elif audited.sockets is not None:
                self._begin(audited)
        for inode in self._places() - listed.keys():
            self._take_away(inode)

    def check(self) -> None:
        """Whether all is as it has to be; to be called every period."""
        if not self.settings.kind.rules or self._ending:
            self._printing.put_back()
            return
        self._printing.look()
        for standing in list(self._standing.values()):
            if standing.running or standing.timer is not None:
                continue
            if standing.error is not None or standing.legacy or standing.watch is None:
                self._look(standing)
                continue
            now = now_us()
            standing.told = standing.watch.generation()
            if standing.told == standing.generation:
                self._is_right(standing, now)
            else:
                self._changed(standing, standing.checked)

    def hear_again(self) -> None:
        """A new capture: tell it of the gaps that last, and of those that the one before may not have written down."""
        for told, gap in self._recent:
            if told > time.monotonic() - RECENT_SECONDS:
                self._send(gap)
        for standing in self._standing.values():
            dark = self._printing.dark if self._in_the_dark(standing) else None
            since = standing.missing if dark is None else dark
            if since is not None:
                self._tell(standing.audited.netns, since, None)

    def tell_end(self) -> None:
        """The daemon ends: lasting gaps last no longer than it."""
        for standing in self._standing.values():
            if standing.missing is not None:
                self._tell(standing.audited.netns, standing.missing, now_us())
        self._printing.over()

    def remove(self) -> None:
        """Take all rules away."""
        self._ending = True
        self._errands.most_children = CHILDREN_AT_END
        for standing in self._standing.values():
            standing.close(self._loop)
        self._standing.clear()
        for inode in self._places():
            self._take_away(inode)
        self._printing.put_back()

    def state(self) -> list[KeptRules]:
        """What the program that replaces this one needs to know."""
        return [
            KeptRules(each.inode, list(each.wanted), *(getattr(each, name) for name in _KEPT))
            for each in self._standing.values()
            if each.generation is not None
        ]

    def restore(self, state: list[KeptRules], audited: Iterable[Audited]) -> None:
        """Go on with what `state` described."""
        by_inode = {each.inode: each for each in audited}
        for kept in state:
            if (each := by_inode.get(kept.inode)) is not None:
                engine, chain, dnat, other, protocols, networks = kept.wanted
                limits = (None if value is None else tuple(value) for value in (protocols, networks))
                standing = Standing(each, self._path(each.name), Wanted(engine, chain, dnat, other, *limits))
                for name in _KEPT:
                    setattr(standing, name, getattr(kept, name))
                self._standing[standing.inode] = standing
                self._listen(standing)

    def _tell(self, netns: str, begin: int, end: int | None) -> None:
        gap = Gap(netns, begin, end, Cause.RULES_MISSING)
        if end is not None:
            self._recent.append((time.monotonic(), gap))
        self._send(gap)

    # A namespace's rules

    def _begin(self, audited: Audited) -> Standing:
        wanted = self.settings.rules(audited.netns)
        assert wanted is not None  # noqa: S101  (for the type checker)
        standing = self._standing[audited.inode] = Standing(audited, self._path(audited.name), wanted)
        standing.since = audited.noticed if audited.anew else now_us()
        if self._listen(standing):
            self._look(standing)
        return standing

    def _listen(self, standing: Standing) -> bool:
        """Hear of changes from now on."""
        try:
            with self._home.entered(standing.path):
                standing.watch = Watch()
        except OSError as error:
            standing.error = f"its rules cannot be watched: {error.strerror}"
            return False
        self._loop.watch(standing.watch.fileno(), lambda: self._hear(standing))
        return True

    def _adapt(self, standing: Standing) -> None:
        """Have the rules that the settings ask for now."""
        wanted = self.settings.rules(standing.audited.netns)
        if wanted is None or wanted == standing.wanted:
            return
        standing.smooth = wanted[:2] == standing.wanted[:2]
        standing.wanted, standing.spelling = wanted, {}
        if standing.since is None:
            standing.since = now_us()
        if standing.running:
            standing.again = True
        else:
            self._look(standing)

    def _hear(self, standing: Standing) -> None:
        """The ruleset has changed."""
        if standing.watch is None:
            return
        told = standing.watch.drain()
        if told is None:
            return
        standing.told = told
        if not standing.running and told == standing.generation:
            self._calm(standing)
        else:
            self._changed(standing, max(self._loop.before, standing.checked))

    def _changed(self, standing: Standing, since: int) -> None:
        standing.last = time.monotonic()
        if standing.since is None:
            standing.since, standing.first = since, standing.last
        if standing.running:
            return
        if standing.timer is None:
            standing.timer = self._loop.after(QUIET_SECONDS, lambda: self._quiet(standing))
        elif standing.last - standing.first >= LATEST_SECONDS and standing.told != netlink.UNKNOWN:
            self._look(standing, crowded=True)

    def _quiet(self, standing: Standing) -> None:
        standing.timer = None
        left = standing.last + QUIET_SECONDS - time.monotonic()
        if left > 0:
            standing.timer = self._loop.after(left, lambda: self._quiet(standing))
        else:
            self._look(standing)

    def _calm(self, standing: Standing) -> None:
        """Nothing waits to be looked at."""
        standing.since = None
        if standing.timer is not None:
            standing.timer.cancel()
            standing.timer = None

    def _look(self, standing: Standing, crowded: bool = False) -> None:
        """Check and repair, in a child; `crowded` where the ruleset is never quiet."""
        if standing.inode in self._visited:
            standing.again = True
            return
        self._visited.add(standing.inode)
        since = standing.since
        self._calm(standing)
        wanted, spelling = standing.wanted, standing.spelling
        standing.running, standing.again = True, False
        path = None if standing.path is None else str(standing.path)
        entry = LogRules(standing.audited.netns, standing.inode, path, *wanted[:2])
        away = [(each.engine, each.chain) for each in self._others(entry)]
        self._note(entry)
        self._errands.send(
            Errand(
                standing.path,
                standing.inode,
                lambda: work.visit(away, wanted, spelling, crowded),
                lambda outcome: self._looked(standing, since, outcome),
            )
        )

    def _looked(self, standing: Standing, since: int | None, outcome: Outcome) -> None:
        standing.running = False
        self._visited.discard(standing.inode)
        if self._standing.get(standing.inode) is not standing:  # let go of meanwhile
            self._next(standing.inode)
            return
        if outcome.gone:
            return  # the next listing lets go of it
        if outcome.error is None:
            self._strike(*self._others(LogRules("", standing.inode, None, *standing.wanted[:2])))
            self._found_right(standing, since, outcome)
        else:
            self._failed(standing, since, outcome.error)
        if standing.again:
            self._look(standing)
        elif standing.since is not None:
            if standing.told == standing.generation:
                self._calm(standing)
            else:
                self._changed(standing, standing.since)

    def _found_right(self, standing: Standing, since: int | None, outcome: Outcome) -> None:
        first, netns = standing.generation is None, standing.audited.netns
        begin = standing.missing or since or standing.checked
        end = outcome.repaired or now_us()
        if standing.relied_on and (standing.missing is not None or (outcome.repaired and not standing.smooth)):
            self._tell(netns, begin, end)
        if outcome.found and not first:
            late = (end - begin) / 1000
            report(f"{WARNING}{netns}: {'; '.join(outcome.found)}; put right at most {late:.0f} ms after the change")
            standing.audited.rules_repaired = end
        else:
            debug("%s: %s", netns, "; ".join(outcome.found) or "the rules were as they have to be")
        for note in outcome.notes if first else ():
            report(f"{NOTICE}{netns}: {note}")
        standing.error = standing.missing = None
        standing.smooth = False
        standing.generation, standing.legacy = outcome.generation, outcome.legacy
        standing.spelling = outcome.spelling
        self._is_right(standing, outcome.looked)
        if not standing.attached:
            self.stood(standing.audited)

    def _is_right(self, standing: Standing, looked: int) -> None:
        """Or was, when somebody looked: that may have taken its time to be heard."""
        standing.checked = standing.audited.rules_checked = looked

    def _failed(self, standing: Standing, since: int | None, why: str) -> None:
        before, standing.error = standing.error, f"its rules do not stand: {why}"
        if not standing.attached:
            self.stood(standing.audited)
            return
        if standing.missing is None:
            standing.missing = since or standing.checked
            self._tell(standing.audited.netns, standing.missing, None)
            if standing.timer is None:  # once soon, then every period
                standing.timer = self._loop.after(LATEST_SECONDS, lambda: self._quiet(standing))
        if before != standing.error:
            report(f"{ERROR}{standing.audited.netns}: {standing.error}; trying again")

    # Taking away

    def _take_away(self, inode: int) -> None:
        there = self._ledger.at(LogRules, inode)
        if not there or inode in self._visited:
            return
        netns, last = there[-1].netns, there[-1].path
        if not there[-1].is_there(self._home.inode):
            self._strike(*there)
            return
        self._visited.add(inode)
        away = [(each.engine, each.chain) for each in there]

        def done(outcome: Outcome) -> None:
            self._visited.discard(inode)
            if outcome.error is None:
                self._strike(*self._ledger.at(LogRules, inode))
                debug("%s: our rules are taken away", netns)
            else:
                report(f"{WARNING}{netns}: cannot take our rules away: {outcome.error}")
            if inode in self._standing:  # it is audited again since
                self._next(inode)

        path = None if last is None else Path(last)
        self._errands.send(Errand(path, inode, lambda: work.visit(away, None, {}), done))

    def _next(self, inode: int) -> None:
        """What was waiting for a visit to end."""
        standing = self._standing.get(inode)
        if standing is not None:
            self._look(standing)
        else:
            self._take_away(inode)

    # The ledger: rules matter more than a note of them

    def _places(self) -> set[int]:
        return {each.inode for each in self._ledger.of(LogRules)}

    def _others(self, entry: LogRules) -> list[LogRules]:
        """What else of ours may be in its namespace."""
        return [each for each in self._ledger.at(LogRules, entry.inode) if each.thing != entry.thing]

    def _note(self, entry: LogRules) -> None:
        try:
            self._ledger.note(entry)
        except OSError as error:
            self._cannot_write(error)

    def _strike(self, *entries: LogRules) -> None:
        try:
            self._ledger.strike(*entries)
        except OSError as error:
            self._cannot_write(error)

    def _cannot_write(self, error: OSError) -> None:
        if not self._unwritten:
            report(f"{WARNING}cannot write {self._ledger.path}: {error.strerror}; after a crash our rules would stay")
        self._unwritten = True

    # The switch

    def _tell_dark(self, since: int, to: int | None) -> None:
        for standing in self._standing.values():
            if self._in_the_dark(standing):
                self._tell(standing.audited.netns, max(since, standing.audited.attached), to)

    def _in_the_dark(self, standing: Standing) -> bool:
        return standing.attached and self._printing.needed(standing.inode)
