"""ledger.jsonl: what of ours is on this host, so that none of it is left behind, not even by a crash.

An entry is written before the thing is done, and struck when it is gone for certain. One object a line; the last line
of a thing counts, and what an earlier boot wrote no longer does. Versions before had a file for each kind of thing:
those are read too, and removed once this file has what they say.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from anetcon.errors import StoreError
from anetcon.system import ondisk, readers
from anetcon.system.printable import recorded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    Kind = TypeVar("Kind", "Sysctls", "LogRules", "OwnTable", "LogSwitch")
    Before = Callable[[bytes, str], Iterator["Entry"]]

FILE = "ledger.jsonl"
MOST_LINES = 1000
"""So many lines more than twice what they say, and the file is written anew."""


class Sysctls(NamedTuple):
    """The sysctls of a namespace as they were before we set them the first time."""

    netns: str
    inode: int
    found: dict[str, str]

    @property
    def thing(self) -> tuple[str, ...]:
        """Which one of its kind it is, in its namespace."""
        return (self.netns,)


class LogRules(NamedTuple):
    """LOG rules of ours may be in the namespace that is entered at `path` (None: the daemon's own)."""

    netns: str
    inode: int
    path: str | None
    engine: str
    chain: str

    @property
    def thing(self) -> tuple[str, ...]:
        """See `Sysctls`."""
        return self.engine, self.chain

    def is_there(self, home: int) -> bool:
        """Whether it is still the same namespace; `home` is the inode of the daemon's own."""
        try:
            return (home if self.path is None else Path(self.path).stat().st_ino) == self.inode
        except OSError:
            return False


class OwnTable(NamedTuple):
    """An nftables table of ours stands in a namespace."""

    netns: str
    inode: int
    table: str

    @property
    def thing(self) -> tuple[str, ...]:
        """See `Sysctls`."""
        return self.netns, self.table


class LogSwitch(NamedTuple):
    """What nf_log_all_netns was before we set it."""

    found: str
    inode: int = 0

    @property
    def thing(self) -> tuple[str, ...]:
        """See `Sysctls`."""
        return ()


Entry = Sysctls | LogRules | OwnTable | LogSwitch

_KINDS: dict[str, type[Entry]] = {"sysctls": Sysctls, "rules": LogRules, "table": OwnTable, "switch": LogSwitch}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_TYPES: dict[type[Entry], dict[str, type | tuple[type, ...]]] = {
    Sysctls: {"inode": int, "found": dict},
    LogRules: {"inode": int, "path": (str, type(None))},
    OwnTable: {"inode": int},
    LogSwitch: {"inode": int},
}
"""Of fields that are no text."""


class Ledger:
    """The entries of a store, each kind by inode. Raises StoreError when they cannot be read.

    `note` and `strike` raise OSError when the disk takes no line. They hold here all the same, and the next line that
    is taken brings all that are missing with it.
    """

    def __init__(self, store: Path) -> None:
        self.path = store / FILE
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._entries: dict[type[Entry], dict[int, dict[tuple[str, ...], Entry]]] = {kind: {} for kind in _NAMES}
        self._lines = self._number = 0
        """Lines in the file, and entries."""
        self._before: list[Path] = []
        """Files of the versions before."""
        self._whole = True
        """Whether the file says what is here, and a line can be added to it."""
        try:
            self._read(_content(self.path))
            for name, read in _BEFORE.items():
                if content := _content(store / name):
                    self._before.append(store / name)
                    self._read_before(read(content, self._boot))
        except OSError as error:
            raise StoreError(
                f"cannot read {error.filename}: {error.strerror}; it says what of ours is on this host"
            ) from None

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Every entry of a kind."""
        return [each for there in self._entries[kind].values() for each in there.values()]  # type: ignore[misc]

    def at(self, kind: type[Kind], inode: int) -> list[Kind]:
        """Those of one namespace, the one noted last at the end."""
        return list(self._entries[kind].get(inode, {}).values())  # type: ignore[arg-type]

    def note(self, entry: Entry) -> None:
        """From now on that is there. Of sysctls and switch the first that was found stays."""
        known = self._known(entry)
        if known is None or (known != entry and not isinstance(entry, Sysctls | LogSwitch)):
            self._take(entry)
            self._write([self._line(entry)])

    def strike(self, *entries: Entry) -> None:
        """They are there no more."""
        known = [each for each in entries if self._known(each)]
        self.forget(*known)
        if known:
            self._write([self._line(each, gone=True) for each in known])

    def forget(self, *entries: Entry) -> None:
        """As `strike`, but the file has them until it is written anew."""
        for entry in entries:
            places = self._entries[type(entry)]
            there = places.get(entry.inode, {})
            self._number -= there.pop(entry.thing, None) is not None
            if not there:
                places.pop(entry.inode, None)

    def prune(self, alive: Collection[tuple[str, int]]) -> None:
        """Forget the sysctls of other namespaces, once they are many: where those come and go it would never end."""
        saved = self.of(Sysctls)
        if len(saved) > MOST_LINES + 2 * len(alive):
            self.forget(*(each for each in saved if (each.netns, each.inode) not in alive))
            self._write([])

    def fold(self) -> None:
        """Take over what the files of versions before say, and remove them. OSError: they stay."""
        if self._before or not self._whole:
            self._write([])

    def _take(self, entry: Entry) -> None:
        self.forget(entry)  # the last one noted is to be at the end
        self._entries[type(entry)].setdefault(entry.inode, {})[entry.thing] = entry
        self._number += 1

    def _known(self, entry: Entry) -> Entry | None:
        return self._entries[type(entry)].get(entry.inode, {}).get(entry.thing)

    def _read(self, content: bytes) -> None:
        lines = content.splitlines(keepends=True)
        self._lines = len(lines)
        for line in lines:
            try:
                said = json.loads(line)
                entry = _entry(said)
                ours = said["boot_id"] == self._boot
            except (ValueError, KeyError, TypeError):
                ours = False  # torn, by a power cut
            self._whole = self._whole and ours and line.endswith(b"\n")
            if ours:
                (self.forget if said.get("gone") else self._take)(entry)

    def _read_before(self, entries: Iterator[Entry]) -> None:
        for entry in entries:
            if self._known(entry) is None:
                self._take(entry)

    def _line(self, entry: Entry, *, gone: bool = False) -> bytes:
        said: dict[str, Any] = {"kind": _NAMES[type(entry)], **entry._asdict(), "boot_id": self._boot}
        return json.dumps(said | ({"gone": True} if gone else {})).encode() + b"\n"

    def _write(self, lines: list[bytes]) -> None:
        anew = self._lines + len(lines) > MOST_LINES + 2 * self._number
        if lines and self._whole and not self._before and not anew:
            self._append(b"".join(lines))
            self._lines += len(lines)
            return
        self._whole = False
        entries = [each for places in self._entries.values() for there in places.values() for each in there.values()]
        readers.replace(self.path, b"".join(map(self._line, entries)))
        self._own()
        self._whole, self._lines = True, len(entries)
        for path in self._before:
            path.unlink(missing_ok=True)
        self._before = []

    def _append(self, content: bytes) -> None:
        self._whole = False
        descriptor = ondisk.open_file(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            size = os.fstat(descriptor).st_size
            if not size:
                readers.give_to_readers(descriptor)
            try:
                ondisk.write_all(descriptor, content)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if not size:
            self._own()
        self._whole = True

    def _own(self) -> None:
        """Whoever owns the store is to write it too: root may be the one who puts things back."""
        if os.geteuid() == 0:
            os.chown(self.path, self.path.parent.stat().st_uid, -1, follow_symlinks=False)


def _content(path: Path) -> bytes:
    """What a file has; nothing where there is none. OSError, too, when a link lies in its place."""
    try:
        descriptor = ondisk.open_file(path, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    with os.fdopen(descriptor, "rb") as opened:
        return opened.read()


def _entry(said: dict[str, Any]) -> Entry:
    """Raises KeyError or TypeError for what is none."""
    kind = _KINDS[said["kind"]]
    fields = {name: said[name] for name in kind._fields}
    for name, value in fields.items():
        if not isinstance(value, _TYPES[kind].get(name, str)) or isinstance(value, bool):
            raise TypeError(name)
    return kind(**fields)


# The files of versions before: lines of one kind each, and JSON lists of (netns, inode)


def _sysctls(content: bytes, boot: str) -> Iterator[Entry]:
    for said in _lines_of(content, boot):
        with contextlib.suppress(KeyError, TypeError):
            yield _entry({"kind": "sysctls", **said})


def _rules(content: bytes, boot: str) -> Iterator[Entry]:
    places = {}
    for said in _lines_of(content, boot):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            entries = [_entry({"kind": "rules", **said, "engine": e, "chain": c}) for e, c in said["rules"]]
            places[said["inode"]] = entries
    for entries in places.values():
        yield from entries


def _tables(content: bytes, table: str) -> Iterator[Entry]:
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        for netns, inode in json.loads(content):
            yield _entry({"kind": "table", "netns": recorded(netns), "inode": inode, "table": table})


def _switch(content: bytes, boot: str) -> Iterator[Entry]:
    for said in _lines_of(content, boot):
        with contextlib.suppress(KeyError):
            yield LogSwitch(str(said["found"]))


def _lines_of(content: bytes, boot: str) -> Iterator[dict[str, Any]]:
    for line in content.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a torn line, after a power cut
            said = json.loads(line)
            if said["boot_id"] == boot:
                yield said


_BEFORE: dict[str, Before] = {
    "sysctls.jsonl": _sysctls,
    "rules.jsonl": _rules,
    "nf_log_all_netns.json": _switch,
    "activated.json": lambda content, _: _tables(content, "inet anetcon_conntrack"),
    "sampled-ip.json": lambda content, _: _tables(content, "ip anetcon_packets"),
    "sampled-ip6.json": lambda content, _: _tables(content, "ip6 anetcon_packets"),
}
