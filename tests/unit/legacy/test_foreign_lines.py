"""Which files have nothing but the old program's in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.config.load import load
from anetcon.config.logrotate import logrotate_text
from anetcon.legacy import foreign_lines

DATA = Path(__file__).parents[2] / "data" / "bash-anetcon" / "etc"
PREFIXES = ("[ANETCON]", "[AUDIT]")


def test_files_of_its_own(tmp_path: Path) -> None:
    """Those of the old program, our file for logrotate, and such as a site would write for it."""
    (tmp_path / "a.toml").touch()
    for text in (
        (DATA / "rsyslog.d/30-anetcon.conf").read_text(),
        '$FileCreateMode 0640\nif $msg contains "[AUDIT][X]" then {\n  -/var/log/anetcon.nat.log\n  stop\n}\n& ~\n',
    ):
        assert foreign_lines.in_rsyslog(text, PREFIXES) is None
    for text in (
        (DATA / "logrotate.d/anetcon").read_text(),
        logrotate_text(load(tmp_path / "a.toml", environment={}).config),
        '# ours\n"/var/log/anetcon/*.log"\n{\n  postrotate\n kill ${pid:-{}}\n endscript\n}\n',
    ):
        assert foreign_lines.in_logrotate(text) is None


@pytest.mark.parametrize(
    "line", ["mail.* /var/log/mail.log", ':msg, contains, "[ANETCON]" @@192.0.2.1', "& @192.0.2.1", "$ActionQueueType"]
)
def test_another_line_is_named(line: str) -> None:
    """Also one that sends the same lines to another machine: that must not end unnoticed."""
    own = (DATA / "rsyslog.d/30-anetcon.conf").read_text()
    assert foreign_lines.in_rsyslog(f"# {line}\n{own}{line}\n", PREFIXES) == line
    rotated = (DATA / "logrotate.d/anetcon").read_text()
    assert foreign_lines.in_logrotate(f"{rotated}\n/var/log/site/*.log {{\n  weekly\n}}\n") == "/var/log/site/*.log"


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    """A file that names nothing of the old program is not taken for its own, unless there is nothing in it."""
    found = foreign_lines.in_rsyslog(text, PREFIXES)
    assert found is None or found in text
    assert foreign_lines.in_logrotate(text) is None or text.strip()
