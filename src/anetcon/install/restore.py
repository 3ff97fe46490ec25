"""What a daemon that has ended left in network namespaces, put back: the sysctls as they were found at the first
attach, the switch nf_log_all_netns, and what is there only after a crash: LOG rules and our tables.

The daemon leaves the sysctls on when it stops, on purpose (a connection opened while they are off never reports its
end); taking the program away ends the audit for good. Only what is known of this boot, and only in a namespace that is
still the same one. A sysctl that somebody set to something else meanwhile is left to them.

Refuses to work beside a running daemon, and to raise: `carry_out` gives the sentence that says why it could not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from anetcon.link import log_switch
from anetcon.link.ledger import Ledger, LogRules, OwnTable, Sysctls
from anetcon.netlink import ct_sysctls
from anetcon.netlink import generation as netlink
from anetcon.rules import programs, tables, work
from anetcon.rules.programs import RulesError
from anetcon.system import netns
from anetcon.system.printable import file_name

DEFAULT = "default"
OURS = "1"
"""What the daemon sets each of the sysctls to."""
NETFILTER = Path("/proc/sys/net/netfilter")


@dataclass(frozen=True)
class Back:
    """One thing, in one namespace: values of sysctls, or else what `what` says."""

    netns: str
    path: Path | None
    """Where the namespace is entered; None: this process's own."""
    inode: int
    what: str
    values: dict[str, str] = field(default_factory=dict)
    table: str = ""
    """An nftables table of ours that is to go."""

    def __str__(self) -> str:
        words = ", ".join(f"{name} to {value}" for name, value in self.values.items())
        return f"{'restore':8} {self.netns}: {words or self.what}"


class Putback:
    """All of it for one store. `steps` looks, `carry_out` does."""

    def __init__(self, store: Path, netns_dir: Path) -> None:
        self.netns_dir = netns_dir
        self._home = netns.Home()
        self._ledger = Ledger(store)
        self._switch = log_switch.Switch(self._home, self._ledger)

    def steps(self, running: bool = False) -> Iterator[Back]:
        """What is to be put back, rules before the sysctls. A daemon that is `running` takes its own away when it is
        stopped, all but the sysctls."""
        if not running:
            yield from self._after_a_crash()
        yield from self._sysctls()

    def _after_a_crash(self) -> Iterator[Back]:
        places = {rules.inode: rules for rules in self._ledger.of(LogRules)}
        for rules in places.values():
            if rules.is_there(self._home.inode):
                path = None if rules.path is None else Path(rules.path)
                yield Back(rules.netns, path, rules.inode, "our LOG rules, taken away")
        yield from self._tables()
        if (found := self._switch.found()) is not None:
            yield Back("the machine", None, 0, f"{log_switch.SWITCH.name} to {found}")

    def carry_out(self, back: Back) -> str | None:
        """Do it; why it could not be done."""
        try:
            if back.values:
                with self._entered(back):
                    for name, value in back.values.items():
                        (NETFILTER / name).write_text(value)
                return None
            if not back.inode:
                return self._switch.put_back()
            with self._entered(back):
                if back.table:
                    programs.nft("-f", "-", text=tables.removal(back.table))
                    return None
                rules = self._ledger.at(LogRules, back.inode)
                outcome = work.visit([(each.engine, each.chain) for each in rules], None, {})
                if outcome.error:
                    return f"{back.netns}: {outcome.error}"
                self._ledger.strike(*rules)
        except (OSError, RulesError) as error:
            return f"{back.netns}: {getattr(error, 'strerror', None) or error}"
        return None

    def _sysctls(self) -> Iterator[Back]:
        for saved in self._ledger.of(Sysctls):
            back = self._back(saved.netns, saved.inode, "sysctls")
            before = {name: str(value) for name, value in saved.found.items() if name in ct_sysctls.SYSCTLS}
            now = self._now(back)
            wanted = {name: value for name, value in before.items() if value != OURS == now.get(name)}
            if wanted:
                yield Back(back.netns, back.path, back.inode, back.what, wanted)

    def _now(self, back: Back) -> dict[str, str]:
        """The sysctls in a namespace; none where it is gone."""
        with contextlib.suppress(OSError), self._entered(back):
            return {name: (NETFILTER / name).read_text().strip() for name in ct_sysctls.SYSCTLS}
        return {}

    def _tables(self) -> Iterator[Back]:
        for own in self._ledger.of(OwnTable):
            back = self._back(own.netns, own.inode, f"the nftables table {own.table}, taken away")
            back = replace(back, table=own.table)
            if self._has_table(back):
                yield back

    def _has_table(self, back: Back) -> bool:
        with contextlib.suppress(OSError), self._entered(back):
            family, name = back.table.split()
            return netlink.has_table(netlink.NUMBERS[family], name)
        return False

    def _back(self, netns: str, inode: int, what: str) -> Back:
        return Back(netns, None if netns == DEFAULT else self.netns_dir / file_name(netns), inode, what)

    @contextlib.contextmanager
    def _entered(self, back: Back) -> Iterator[None]:
        """In the namespace; OSError when it is gone, or another by now, or no name of one."""
        if back.path is not None and back.path.name != file_name(back.netns):
            raise OSError("no namespace can have that name")
        with self._home.entered(back.path) as inode:
            if inode != back.inode:
                raise OSError("it is another namespace by now")
            yield
