"""Who writes the text logs after a takeover."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.config.load import Loaded, load
from anetcon.config.model import RSYSLOG_FILE, LogSettings
from anetcon.config.rsyslog import rsyslog_text
from anetcon.legacy import old_rsyslog
from anetcon.legacy.old_rsyslog import LogWriter

STANDARD = Path(RSYSLOG_FILE)
TODAY = ':msg, contains, "[ANETCON][X]" /var/log/anetcon/anetcon.nat.log\n:msg, contains, "[ANETCON][D]" /b\n'
OLDER = TODAY.replace("][X]", "] [NAT]").replace("][D]", "] [FLOAT]")


def loaded(tmp_path: Path, text: str, snippet: bool = True) -> Loaded:
    """A configuration, beside a file for rsyslog or not."""
    file, rsyslog = tmp_path / "a.toml", tmp_path / "30-anetcon.conf"
    file.write_text(text)
    if snippet:
        rsyslog.touch()
    return load(file, environment={}, rsyslog_file=rsyslog)


@pytest.mark.parametrize(
    ("configuration", "snippets", "user", "writer"),
    [
        ('engine = "iptables-log"', {STANDARD: TODAY}, "", LogWriter.SAME),
        ('engine = "iptables-log"', {STANDARD: TODAY}, "root", LogWriter.SAME),
        ('engine = "nftables-log"\n[logs]\nwriter = "rsyslog"', {STANDARD: TODAY}, "", LogWriter.SAME),
        ('engine = "iptables-log"', {STANDARD: OLDER}, "", LogWriter.RENEWED),
        ('engine = "iptables-log"', {Path("/etc/rsyslog.d/10-a.conf"): TODAY}, "", LogWriter.RENEWED),
        ('engine = "iptables-log"', {STANDARD: TODAY, Path("/etc/rsyslog.d/9.conf"): TODAY}, "", LogWriter.RENEWED),
        ('engine = "iptables-log"', {STANDARD: TODAY}, "syslog", LogWriter.DAEMON),
        ('engine = "iptables-log"\n[logs]\nwriter = "anetcon"', {STANDARD: TODAY}, "", LogWriter.DAEMON),
        ('engine = "conntrack"', {STANDARD: TODAY}, "", LogWriter.DAEMON),
        ('engine = "conntrack"', {}, "", LogWriter.NOBODY),
        ('engine = "iptables-log"', {}, "", LogWriter.NOBODY),
    ],
)
def test_who_writes(
    tmp_path: Path, configuration: str, snippets: dict[Path, str], user: str, writer: LogWriter
) -> None:
    """By engine, setting, what rsyslog has, and whom it becomes."""
    assert old_rsyslog.choose(loaded(tmp_path, f"[audit]\n{configuration}\n", bool(snippets)), snippets, user) is writer


@pytest.mark.parametrize(
    ("snippet", "fits"),
    [
        (TODAY, True),
        (TODAY.replace("[", r"\[").replace("]", r"\]"), True),
        (OLDER, False),
        (TODAY.replace("[D]", "[F]"), False),
        ("", False),
        (rsyslog_text(LogSettings(), "adm"), True),
        (old_rsyslog.renewed(LogSettings()), True),
    ],
)
def test_whether_a_file_knows_our_prefixes(snippet: str, fits: bool) -> None:
    """However they are quoted."""
    assert old_rsyslog.sorts(snippet, LogSettings()) is fits


def test_a_new_file_knows_both_forms() -> None:
    """Today's lines, and those that were printed before."""
    text = old_rsyslog.renewed(LogSettings())
    assert text.count("anetcon.nat.log") >= 2
    assert "[[]NAT[]] IN=" in text
    assert "[[]X[]]([[][0-9a-f]{8}[]])? IN=" in text


@pytest.mark.parametrize(
    ("files", "user"),
    [
        ([], ""),
        (["# $PrivDropToUser nobody\n"], ""),
        (["$FileOwner syslog\n$PrivDropToUser syslog\n$PrivDropToGroup syslog\n"], "syslog"),
        (['global(privdrop.user.name="daemon")\n', "module()\n"], "daemon"),
    ],
)
def test_whom_rsyslog_becomes(files: list[str], user: str) -> None:
    """In either of its languages."""
    assert old_rsyslog.unprivileged(files) == user


def test_which_file_a_line_belongs_to() -> None:
    """By both forms of prefix; and the files that the site names are found."""
    logs = LogSettings(dir="/srv/logs")
    assert {prefix: str(file) for prefix, file in old_rsyslog.files(logs).items()} == {
        "[ANETCON][X]": "/srv/logs/anetcon.nat.log",
        "[ANETCON] [NAT]": "/srv/logs/anetcon.nat.log",
        "[ANETCON][D]": "/srv/logs/anetcon.float.log",
        "[ANETCON] [FLOAT]": "/srv/logs/anetcon.float.log",
    }
    snippets = [
        ':msg, contains, "[A]" -/var/log/anetcon.nat.log\n',
        'action(type="omfile" file="/x/anetcon.float.log")',
    ]
    assert old_rsyslog.named(snippets) == [Path("/var/log/anetcon.nat.log"), Path("/x/anetcon.float.log")]
