"""Lists of addresses and networks as people keep them: one a line, with comments, and perhaps defanged. Pure.

Refuses a line that it cannot read: to leave it out would be to say that nobody was seen there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from anetcon.store import sql
from anetcon.store.sql import Network

_COMMENT = re.compile(r"(?:^|\s)#.*")
_DEFANGED = re.compile(r"\[([.:]+)\]|\(([.:]+)\)")


class Indicator(NamedTuple):
    """What one line names: its number, as it stands there, and the addresses."""

    line: int
    text: str
    network: Network


def indicators(lines: Iterable[str]) -> Iterator[Indicator]:
    """What these lines name. Raises ValueError with the number of the line that names nothing."""
    for number, line in enumerate(lines, 1):
        text = _COMMENT.sub("", line.removeprefix("\ufeff")).strip()
        if text:
            try:
                yield Indicator(number, text, sql.network(_DEFANGED.sub(r"\1\2", text)))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
