"""What a visit to a namespace found and did, as it travels from the keeper's child to the keeper: one line of JSON."""

from __future__ import annotations

import json
import time

Spelling = dict[str, list[str]]
"""By family: our rules as the programs of this machine print them, where that differs from how we write them."""


class VisitOutcome:
    """What a visit found and did."""

    def __init__(self, error: str | None = None, gone: bool = False, spelling: Spelling | None = None) -> None:
        self.error = error
        """Why the rules do not stand now, or could not be removed; without one all is as it has to be."""
        self.gone = gone
        """The namespace is not there any more, or is another one."""
        self.generation: int | None = None
        """The ruleset's generation at which all was found right."""
        self.looked = 0
        """When (us) that look began."""
        self.legacy = False
        """Whether iptables-legacy is in use, of whose tables nobody tells changes."""
        self.found: list[str] = []
        """What was wrong before it was put right."""
        self.repaired: int | None = None
        """When (us) the last write was done; None when nothing was wrong."""
        self.notes: list[str] = []
        """What cannot be had here, though the rules stand."""
        self.spelling = spelling or {}

    def look(self) -> None:
        """Everything is looked at from here on."""
        self.looked = time.time_ns() // 1000

    def wrote(self, what: str) -> None:
        """Something was wrong and is put right now."""
        self.found.append(what)
        self.repaired = time.time_ns() // 1000

    def line(self) -> bytes:
        """As JSON."""
        return json.dumps(vars(self)).encode()

    @classmethod
    def of(cls, line: bytes) -> VisitOutcome:
        """From JSON. ValueError for anything else."""
        made = cls()
        vars(made).update(json.loads(line))
        return made
