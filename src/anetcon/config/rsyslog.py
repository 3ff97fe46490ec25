"""The text of 30-anetcon.conf: rsyslog sorts the kernel's lines into the two text logs.

A line counts only from the kernel (facility 0), and only when it begins as our rules have it, so that nothing a packet
or an interface is called can get a line into the wrong file. Refuses to write the file: `anetcon config rsyslog` prints
it.
"""

from __future__ import annotations

import grp
import re

from anetcon.config.model import LogSettings

READERS = "adm"
"""Group whose members may read the logs, where there is one."""

HEAD = """\
# Connections that the LOG rules of anetcon print into the kernel's log, sorted into its two text logs.
# Made by `anetcon config rsyslog`: the prefixes and the folder are those of its configuration. While this file is
# there anetcon leaves both text logs to rsyslog (logs.writer = "auto", and a LOG engine).
"""
STAMP = "^ ?([[] *[0-9]+[.][0-9]+[]] ?)?"
"""What imklog may leave before a line: a blank, the kernel's time."""


def rsyslog_text(logs: LogSettings, group: str | None = None) -> str:
    """The whole file. `group` may read the logs; None: the group of readers, where this machine has one."""
    readers = _readers() if group is None else group
    hashed = "([[][0-9a-f]{8}[]])?" if logs.namespace_hash else ""
    lines = [HEAD, f"if $syslogfacility == 0 and $msg contains {quoted(logs.prefix)} then {{"]
    for part, name in ((logs.prefix_other, "anetcon.nat.log"), (logs.prefix_dnat, "anetcon.float.log")):
        begins = f"{STAMP}{_literally(logs.prefix + part)}{hashed} IN="
        given = f' fileGroup="{readers}" dirGroup="{readers}"' if readers else ""
        lines += [
            f"    if re_match($msg, {quoted(begins)}) then {{",
            f'        action(type="omfile" file={quoted(f"{logs.dir}/{name}")}',
            f'               fileCreateMode="0640" dirCreateMode="0750"{given})',
            "        stop",
            "    }",
        ]
    return "\n".join([*lines, "}", ""])


def _readers() -> str:
    try:
        return grp.getgrnam(READERS).gr_name
    except KeyError:
        return ""


def _literally(text: str) -> str:
    """A regular expression (POSIX, extended) for the text itself."""
    special = {"^": "\\^", "\\": "\\\\"}
    return "".join(char if char.isalnum() or char == " " else special.get(char, f"[{char}]") for char in text)


def quoted(text: str) -> str:
    """A text in rsyslog's language."""
    return '"' + re.sub(r'[\\"$]', r"\\\g<0>", text) + '"'
