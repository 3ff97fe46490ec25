"""Who writes the two text logs when the bash ANetCon is gone, and what rsyslog has to be told for it.

With a LOG engine rsyslog goes on: what it needs has stood all the time, so no line is lost and none is there twice. A
file of the site's that sorts our prefixes stays as it is. One that does not (the older form of lines, another name) is
replaced by ours, which sorts both forms. With engine conntrack the daemon writes, and the file goes; so it does where
rsyslog gives up root (Ubuntu): the folder of the logs is the daemon's by then. What the kernel prints is then kept out
of the other logs by a file of one line, as the one before did.

Refuses to write files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path

import msgspec

from anetcon.config.load import Loaded
from anetcon.config.model import RSYSLOG_FILE, LogSettings
from anetcon.config.rsyslog import READERS, quoted, rsyslog_text
from anetcon.legacy.stop_old import systemctl
from anetcon.link.engine_kinds import KINDS

OLDER = {"prefix": "[ANETCON] ", "prefix_other": "[NAT]", "prefix_dnat": "[FLOAT]", "namespace_hash": False}
"""What lines began with before they had a hash."""

DISCARD = Path("/etc/rsyslog.d/31-anetcon-discard.conf")
"""Read after the site's own file, should that come back."""

_LOG = re.compile(r"/[^\s\"';]*anetcon\.(?:nat|float)\.log")
_DROPS = re.compile(r"^\s*\$PrivDropToUser\s+(?P<old>\S+)|privdrop\.user\.name\s*=\s*\"(?P<new>[^\"]+)\"", re.MULTILINE)


class LogWriter(Enum):
    """What becomes of rsyslog's part."""

    SAME = "rsyslog goes on writing the text logs, by the file it has"
    RENEWED = "rsyslog goes on writing the text logs, by a new file that knows the prefixes of both"
    DAEMON = "the daemon writes the text logs from then on"
    NOBODY = "rsyslog has no part in it"


def choose(loaded: Loaded, snippets: dict[Path, str], user: str = "") -> LogWriter:
    """By the configuration that will be used, the files rsyslog sorts by now, and the user that it becomes."""
    logs, kernel_lines = loaded.config.logs, KINDS[loaded.config.audit.engine].kernel_log
    if not snippets:
        return LogWriter.NOBODY
    automatic = "logs.writer" in loaded.why
    if not kernel_lines or user not in ("", "root") or not (automatic or logs.writer == "rsyslog"):
        return LogWriter.DAEMON
    fits = list(snippets) == [Path(RSYSLOG_FILE)] and sorts(snippets[Path(RSYSLOG_FILE)], logs)
    return LogWriter.SAME if fits else LogWriter.RENEWED


def sorts(snippet: str, logs: LogSettings) -> bool:
    """Whether a file names both prefixes, quoted as it may be."""
    plain = re.sub(r"\\(.)|\[(.)\]", lambda found: found[1] or found[2], snippet)
    return all(
        logs.prefix + part in snippet or logs.prefix + part in plain for part in (logs.prefix_other, logs.prefix_dnat)
    )


def renewed(logs: LogSettings) -> str:
    """A file that sorts today's lines and the older form of them."""
    return rsyslog_text(logs, READERS) + rsyslog_text(msgspec.structs.replace(logs, **OLDER), READERS)


def files(logs: LogSettings) -> dict[str, Path]:
    """Where a line belongs, by what it begins with: both forms."""
    forms = logs, msgspec.structs.replace(logs, **OLDER)
    nat, dnat = (Path(logs.dir, name) for name in ("anetcon.nat.log", "anetcon.float.log"))
    found = {form.prefix + form.prefix_other: nat for form in forms}
    return found | {form.prefix + form.prefix_dnat: dnat for form in forms}


def named(snippets: Iterable[str]) -> list[Path]:
    """The text logs that files of the site name."""
    return [Path(match[0]) for text in snippets for match in _LOG.finditer(text)]


def discarding(logs: LogSettings) -> str:
    """A file that keeps the lines out of the logs of others."""
    return (
        "# The daemon writes anetcon.nat.log and anetcon.float.log itself: what the kernel prints for it goes nowhere\n"
        "# else. Made by `anetcon install`.\n"
        f"if $syslogfacility == 0 and $msg contains {quoted(logs.prefix)} then stop\n"
    )


def user() -> str:
    """The user that rsyslog becomes here; empty when it stays root."""
    files = [Path("/etc/rsyslog.conf"), *sorted(Path("/etc/rsyslog.d").glob("*.conf"))]
    return unprivileged([file.read_text(errors="replace") for file in files if file.is_file()])


def restart() -> None:
    """Have rsyslog read its files again, where it runs."""
    systemctl("try-restart", "rsyslog.service")


def unprivileged(configuration: Sequence[str]) -> str:
    """The user that rsyslog becomes, as its files say; empty when it stays root."""
    found = [match["old"] or match["new"] for text in configuration for match in _DROPS.finditer(text)]
    return found[-1] if found else ""
