"""Who writes the two text logs when the bash ANetCon is gone, and what rsyslog has to be told for it.

With a LOG engine rsyslog goes on: what it needs has stood all the time, so no line is lost and none is there twice. A
file of the site's that sorts our prefixes stays as it is. One that does not (the older form of lines, another name) is
replaced by ours, which sorts both forms. With engine conntrack the daemon writes, and the file goes.

Refuses to touch files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

import msgspec

from anetcon.config.load import Loaded
from anetcon.config.model import RSYSLOG_FILE, Logs
from anetcon.config.rsyslog import READERS, rsyslog_text

OLDER = {"prefix": "[ANETCON] ", "prefix_other": "[NAT]", "prefix_dnat": "[FLOAT]", "namespace_hash": False}
"""What lines began with before they had a hash."""

_DROPS = re.compile(r"^\s*\$PrivDropToUser\s+(?P<old>\S+)|privdrop\.user\.name\s*=\s*\"(?P<new>[^\"]+)\"", re.MULTILINE)


class Writer(Enum):
    """What becomes of rsyslog's part."""

    SAME = "rsyslog goes on writing the text logs, by the file it has"
    RENEWED = "rsyslog goes on writing the text logs, by a new file that knows the prefixes of both"
    DAEMON = "the daemon writes the text logs from then on"
    NOBODY = "rsyslog has no part in it"


def choose(loaded: Loaded, snippets: dict[Path, str]) -> Writer:
    """By the configuration that will be used, and the files rsyslog sorts by now."""
    logs, log_engine = loaded.config.logs, loaded.config.audit.engine != "conntrack"
    if not snippets:
        return Writer.NOBODY
    automatic = "logs.writer" in loaded.why
    if not log_engine or not (automatic or logs.writer == "rsyslog"):
        return Writer.DAEMON
    fits = list(snippets) == [Path(RSYSLOG_FILE)] and sorts(snippets[Path(RSYSLOG_FILE)], logs)
    return Writer.SAME if fits else Writer.RENEWED


def sorts(snippet: str, logs: Logs) -> bool:
    """Whether a file names both prefixes, quoted as it may be."""
    plain = re.sub(r"\\(.)|\[(.)\]", lambda found: found[1] or found[2], snippet)
    return all(
        logs.prefix + part in snippet or logs.prefix + part in plain for part in (logs.prefix_other, logs.prefix_dnat)
    )


def renewed(logs: Logs) -> str:
    """A file that sorts today's lines and the older form of them."""
    return rsyslog_text(logs, READERS) + rsyslog_text(msgspec.structs.replace(logs, **OLDER), READERS)


def unprivileged(configuration: Sequence[str]) -> str:
    """The user that rsyslog becomes, as its files say; empty when it stays root."""
    found = [match["old"] or match["new"] for text in configuration for match in _DROPS.finditer(text)]
    return found[-1] if found else ""
