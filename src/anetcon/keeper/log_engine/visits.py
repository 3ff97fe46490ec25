"""Children that visit namespaces to put LOG rules of ours right, or to take them away: one in a namespace at a time.
The ledger says before where they may be.

Refuses to know when a visit is due: `standing` and `rules` do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from anetcon.keeper.host import Host
from anetcon.keeper.jobs import Errand, Errands
from anetcon.keeper.log_engine.standing import Look
from anetcon.keeper.namespace import Namespace
from anetcon.link.ledger import LogRules
from anetcon.rules import work
from anetcon.rules.outcome import VisitOutcome
from anetcon.rules.wording import WantedRules
from anetcon.system.report import WARNING, debug, report


class Visits:
    """All of them. `freed` hears of the inode of a namespace that a child has left, but for who sent it."""

    def __init__(self, host: Host, errands: Errands, freed: Callable[[int], None]) -> None:
        self._host = host
        self._errands = errands
        self._freed = freed
        self._busy: set[int] = set()
        """Inodes of namespaces that a child is to visit or is in."""
        self._unwritten = False

    def is_busy(self, inode: int) -> bool:
        """Whether a child is in a namespace, or about to be."""
        return inode in self._busy

    def places(self) -> set[int]:
        """The inodes of namespaces in which rules of ours may be."""
        return {each.inode for each in self._host.ledger.of(LogRules)}

    def look(self, namespace: Namespace, look: Look, done: Callable[[VisitOutcome], None]) -> None:
        """Have rules looked at, and put right; what else of ours is there goes."""
        inode, path = namespace.inode, namespace.path
        entry = LogRules(namespace.netns, inode, None if path is None else str(path), *look.wanted[:2])
        away = [(each.engine, each.chain) for each in self._others(entry)]
        self._note(entry)

        def ended(outcome: VisitOutcome) -> None:
            self._busy.discard(inode)
            done(outcome)

        self._busy.add(inode)
        visit = lambda: work.visit(away, look.wanted, look.spelling, look.crowded)  # noqa: E731
        self._errands.send(Errand(path, inode, visit, ended))

    def settled(self, inode: int, wanted: WantedRules) -> None:
        """No rules of ours but these are in a namespace."""
        self._strike(*self._others(LogRules("", inode, None, *wanted[:2])))

    def take_away(self, inode: int) -> None:
        """Have no rules of ours in a namespace."""
        there = self._host.ledger.at(LogRules, inode)
        if not there or inode in self._busy:
            return
        last = there[-1]
        if not last.is_there(self._host.home.inode):
            self._strike(*there)
            return
        away = [(each.engine, each.chain) for each in there]

        def ended(outcome: VisitOutcome) -> None:
            self._busy.discard(inode)
            if outcome.error is None:
                self._strike(*self._host.ledger.at(LogRules, inode))
                debug("%s: our rules are taken away", last.netns)
            else:
                report(f"{WARNING}{last.netns}: cannot take our rules away: {outcome.error}")
            self._freed(inode)

        self._busy.add(inode)
        path = None if last.path is None else Path(last.path)
        self._errands.send(Errand(path, inode, lambda: work.visit(away, None, {}), ended))

    def _others(self, entry: LogRules) -> list[LogRules]:
        """What else of ours may be in its namespace."""
        return [each for each in self._host.ledger.at(LogRules, entry.inode) if each.thing != entry.thing]

    def _note(self, entry: LogRules) -> None:
        try:
            self._host.ledger.note(entry)
        except OSError as error:
            self._cannot_write(error)

    def _strike(self, *entries: LogRules) -> None:
        try:
            self._host.ledger.strike(*entries)
        except OSError as error:
            self._cannot_write(error)

    def _cannot_write(self, error: OSError) -> None:
        """Said once: the rules matter more than a note of them."""
        if not self._unwritten:
            path = self._host.ledger.path
            report(f"{WARNING}cannot write {path}: {error.strerror}; after a crash our rules would stay behind")
        self._unwritten = True
