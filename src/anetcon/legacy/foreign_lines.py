"""Whether a file that would go with the bash ANetCon has something else in it, which would go as well.

Refuses to edit such a file, and to guess: a line that is not surely the old program's is the site's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_SORTING = re.compile(r"\s*(?:(?:&\s*)?(?:stop|~)|[{}\s]+|\$(?:File|Dir|Umask)\w*\s+\S+)?\s*")
"""What belongs to the rule before it, or says how a file is made."""
_COMMENT = re.compile(r"\s*#.*")
_NAME = "anetcon"


def in_rsyslog(text: str, prefixes: Iterable[str]) -> str | None:
    """The first line that sorts something else, or sends ours to somebody; None when there is none."""
    words = (_NAME, *map(str.lower, prefixes))
    for line in text.splitlines():
        if _COMMENT.fullmatch(line) or _SORTING.fullmatch(line):
            continue
        if "@" in line or "omfwd" in line or not any(word in line.lower() for word in words):
            return line.strip()
    return None


def in_logrotate(text: str) -> str | None:
    """The first log of another program that is rotated; None when there is none. What is set for ours is ours."""
    outside, inner = re.sub(r"(?m)^\s*#.*$", "", text), 1
    while inner:
        outside, inner = re.subn(r"\{[^{}]*\}", "\n", outside)
    logs = (word for word in re.findall(r'"[^"\n]*"|\S+', outside))
    return next((log for log in logs if _NAME not in log), None)
