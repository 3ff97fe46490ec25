"""The chain of the bash ANetCon: kept by the daemon as its own, replaced by our table of nftables in one write, or
taken away once a daemon needs no rules.

What our rules are in, or will be, is named to the daemon by a line in the ledger, so that it takes them away also in
namespaces that it does not audit. The engine nftables-log has its table before it starts: chain and table printing side
by side would be two lines of each connection, one after the other a moment with none. Refuses to look for the chain
where the old configuration selects nothing.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from anetcon.config.load import Loaded
from anetcon.link.ledger import Ledger, LogRules
from anetcon.link.settings import DEFAULT, Settings
from anetcon.netlink import generation as netlink
from anetcon.rules import iptables, nftables, programs, wording, work
from anetcon.rules.programs import RulesError
from anetcon.rules.wording import NFTABLES, WantedRules
from anetcon.system.netns import Home
from anetcon.system.printable import file_name, recorded

Place = tuple[str, Path | None]
"""A namespace's name, and where to enter it; None: the one we are in."""

Report = Callable[[str], None]

BACK_SECONDS = 10.0
"""How long the chain may take to stand again."""
_RULE = re.compile(r"^\s*chain (?P<chain>\S+) \{|\b(?:jump|goto) (?P<to>\S+) # handle (?P<handle>\d+)$", re.MULTILINE)
_TABLES = {4: "ip nat", 6: "ip6 nat"}
_AWAY = [(NFTABLES, wording.TABLE)]


def places(loaded: Loaded) -> Iterator[Place]:
    """Where it may be: in the namespaces that a configuration of the old program selects."""
    settings = Settings(loaded.resolved())
    if settings.with_default:
        yield DEFAULT, None
    folder = Path(settings.netns_dir)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if settings.selects(path.name) and _is_namespace(path):
            yield recorded(path.name), path


def _is_namespace(path: Path) -> bool:
    """Not a file that one left behind, or is yet to be mounted on."""
    with contextlib.suppress(OSError):
        return path.stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    return False


def name(loaded: Loaded, engine: str, store: Path, report: Report) -> None:
    """Have the daemon know of what is there when it starts."""
    ledger, home = Ledger(store), Home().inode
    for netns, path in places(loaded):
        with contextlib.suppress(FileNotFoundError):
            inode, where = (home, None) if path is None else (path.stat().st_ino, str(path))
            try:
                ledger.note(LogRules(netns, inode, where, engine, loaded.config.audit.chain))
            except OSError as error:
                report(f"cannot write {ledger.path}: {error.strerror}; the daemon will not know the rules in {netns}")


def remove(loaded: Loaded, report: Report) -> None:
    """Take it away everywhere; where that fails it is said."""
    _everywhere(loaded, report, lambda _, chain: iptables.remove(chain))


def replace(loaded: Loaded, settings: Settings, report: Report) -> None:
    """Our table instead of it, everywhere; where that fails it is said, and it prints on."""

    def one(netns: str, chain: str) -> None:
        audited = settings.with_default if netns == DEFAULT else settings.selects(file_name(netns))
        _replace(settings.rules(netns) if audited else None, chain)

    _everywhere(loaded, report, one)


def _everywhere(loaded: Loaded, report: Report, do: Callable[[str, str], None]) -> None:
    """In each namespace, by its name and that of the chain. What fails in one that is gone by then is no failure."""
    home, chain = Home(), loaded.config.audit.chain
    for netns, path in places(loaded):
        try:
            with home.entered(path):
                do(netns, chain)
        except (RulesError, OSError) as error:
            if path is None or _is_namespace(path):
                why = getattr(error, "strerror", None) or error
                report(f"{netns}: its chain {chain} is still there: {why}; `anetcon doctor {netns}` says more")


def _replace(wanted: WantedRules | None, chain: str) -> None:
    """In one write where the chain is in nftables, too, as iptables-nft has it; else ours is there first.

    A packet that is between the two hooks at the very instant of the write has no line: that time is before the record
    begins, and on record as such.
    """
    if wanted is not None:
        with contextlib.suppress(RulesError):  # another program was faster: then in two
            programs.nft("-f", "-", text=nftables.AWAY + wording.nftables(wanted) + _removal(chain))
        nftables.stand(wanted, {})
    iptables.remove(chain)


def _removal(chain: str) -> str:
    """What takes the chain away, for nft; nothing where it is not there."""
    lines = []
    for family, table in _TABLES.items():
        printed = programs.nft("-a", "list", "table", *table.split()) if netlink.has_table(family, "nat") else ""
        inside, there = "", False
        for found in _RULE.finditer(printed):
            inside = found["chain"] or inside
            there |= found["chain"] == chain
            if found["to"] == chain:
                lines.append(f"delete rule {table} {inside} handle {found['handle']}")
        lines += [f"flush chain {table} {chain}", f"delete chain {table} {chain}"] if there else []
    return "".join(f"{line}\n" for line in lines)


def give_back(old: Loaded, ours: Loaded, expected: bool) -> None:
    """Take our tables away, wherever either configuration has put them; where the old program's chain is `expected`
    again not before it stands, as long as it comes to stand in one namespace after the other. Never raises for one."""
    home, deadline = Home(), time.monotonic() + BACK_SECONDS
    theirs = [path for _, path in places(old)]
    for path in dict.fromkeys([*theirs, *(path for _, path in places(ours))]):
        with contextlib.suppress(OSError, RulesError), home.entered(path):
            if netlink.has_table(netlink.INET, wording.TABLE):
                if expected and path in theirs and _wait_stands(old.config.audit.chain, deadline):
                    deadline = time.monotonic() + BACK_SECONDS
                work.visit(_AWAY, None, {})


def _wait_stands(chain: str, deadline: float) -> bool:
    while not (stands := _stands(chain)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return stands


def _stands(chain: str) -> bool:
    return bool(iptables.read(4, iptables.used(4)).jumps(chain))
