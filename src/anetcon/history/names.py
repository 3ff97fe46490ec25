"""The namespace behind the hash of a line, and the node behind its host: as codes, and the names by code."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from anetcon.errors import InputError
from anetcon.link.settings import DEFAULT
from anetcon.record import UNKNOWN_NETNS
from anetcon.system.printable import canonical, namespace_hash, visible

HASH = re.compile(r"\[([0-9a-f]{8})\]")
"""What a namespace is called of which only the hash is known."""

LISTED = re.compile(r"^(.+) \[([0-9a-f]{8})\]$")


class TextCodes(dict[bytes, int]):
    """A code for each text; `names` by code."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.names = names

    def code(self, name: str) -> int:
        """The code of a name."""
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)


class NamespaceCodes(TextCodes):
    """Codes by hash; of lines without one it is `unhashed`. A hash that nobody knows stands for itself."""

    def __init__(self, listed: dict[bytes, str], unhashed: str, *, given: bool = False) -> None:
        super().__init__([])
        self._listed = listed
        self.unhashed, self.unhashed_given = unhashed, given
        self.unknown: set[str] = set()

    def place(self, name: str) -> int | None:
        """What tells a namespace from others, be it known by its name, by its hash alone, or by another name before the
        file of hashes was edited; None when it is unknown."""
        if name == UNKNOWN_NETNS:
            return None
        match = HASH.fullmatch(name)
        hashed = match[1] if match else namespace_hash(name)
        named = self._listed.get(hashed.encode())
        return int(hashed if named is None else namespace_hash(named), 16)

    def __missing__(self, text: bytes) -> int:
        name = self.unhashed if not text else self._listed.get(text)
        if name is None:
            name = f"[{text.decode()}]"
            self.unknown.add(name)
        self[text] = code = self.code(name)
        return code

    def strangers(self, counted: Counter[int]) -> dict[str, int]:
        """How many lines each namespace that nobody knows had."""
        return {name: counted[self.names.index(name)] for name in sorted(self.unknown)}


class Nodes(TextCodes):
    """Codes by host. This node is called by its own name, be that the short or the whole one, whichever of the two a
    syslog daemon writes; a whole name of another domain is another node, and so is another address."""

    def __init__(self, own: str, given: str | None) -> None:
        super().__init__([])
        self._own, self._given = own, given

    def __missing__(self, host: bytes) -> int:
        name = self._given or visible(os.fsdecode(host))
        said, own = name.lower(), self._own.lower()
        if said == own or said.partition(".")[0] == own or said == own.partition(".")[0]:
            name = self._own
        self[host] = code = self.code(self._given or name)
        return code

    @property
    def here(self) -> int:
        """The code of text that names no host."""
        return self.code(self._given or self._own)


def listed(file: Path | None, *, asked: bool) -> dict[bytes, str]:
    """Names by hash, from the file of hashes, which may be missing unless it was asked for. Of several names of one
    hash it is that one's whose hash it is; where that tells no single one, nobody's. Raises InputError."""
    found = {namespace_hash(DEFAULT): {DEFAULT}}
    if file is not None and (asked or os.path.exists(file)):  # noqa: PTH110 - it never raises
        try:
            lines = file.read_text(errors="surrogateescape").split("\n")
        except OSError as error:
            raise InputError(f"cannot read the file of hashes {file}: {error.strerror}") from error
        for line in lines:
            if match := LISTED.match(line.strip()):
                found.setdefault(match[2], set()).add(canonical(match[1]))
    chosen = {hashed: names if len(names) == 1 else _own(hashed, names) for hashed, names in found.items()}
    return {hashed.encode(): next(iter(names)) for hashed, names in chosen.items() if len(names) == 1}


def _own(hashed: str, names: set[str]) -> set[str]:
    return {name for name in names if namespace_hash(name) == hashed}
