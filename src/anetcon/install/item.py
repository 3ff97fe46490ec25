"""One thing that is installed. Data alone: knows no root and no file system."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum


class ItemKind(Enum):
    """How an item is treated where something else is in its place."""

    PROGRAM = "program"
    """Part of the program: always replaced."""
    CONFIGURATION = "configuration"
    """Belongs to the operator as soon as it was edited: never overwritten then, and kept at the end."""
    DIRECTORY = "directory"
    LINK = "link"


@dataclass(frozen=True)
class Item:
    """`path` is absolute, as on the machine that will run it. Owner and group are names: numbers differ by machine."""

    kind: ItemKind
    path: str
    content: bytes = b""
    """Of a link: where it points to."""
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    aside: str = ".new"
    """What is put behind the name of the file beside an edited one."""

    @property
    def digest(self) -> str:
        """By which the content is known again."""
        return digest(self.content)

    @property
    def beside(self) -> str:
        """Where the content goes when the file was edited."""
        return self.path + self.aside


def digest(content: bytes) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(content).hexdigest()
