"""What the file for rsyslog says. A real rsyslogd reads it in tests/e2e/test_syslog.py."""

from __future__ import annotations

from anetcon.config.model import LogSettings
from anetcon.config.rsyslog import rsyslog_text


def test_prefixes_folder_and_group() -> None:
    """They are those of the configuration, and nothing goes on to other files."""
    text = rsyslog_text(LogSettings(dir="/srv/log", prefix="<a>", prefix_dnat="F", prefix_other="N"), "adm")
    assert 'file="/srv/log/anetcon.nat.log"' in text
    assert 'file="/srv/log/anetcon.float.log"' in text
    assert text.count('fileGroup="adm"') == text.count('fileCreateMode="0640"') == text.count("stop\n") == 2
    assert text.index("[<]a[>]N") < text.index("anetcon.nat.log") < text.index("[<]a[>]F")
    assert text.count("[0-9a-f]{8}") == 2
    assert "fileGroup" not in rsyslog_text(LogSettings(), "")
    assert "[0-9a-f]{8}" not in rsyslog_text(LogSettings(namespace_hash=False), "adm")
