"""What the file for logrotate says. A real logrotate uses it in tests/e2e/test_syslog.py."""

from __future__ import annotations

from anetcon.config.logrotate import logrotate_text
from anetcon.config.model import Config, LogSettings, StoreSettings


def test_files_and_signals() -> None:
    """The three logs where they are configured; a signal to the owner of the store's lock, and nothing restarted."""
    text = logrotate_text(
        Config(logs=LogSettings(dir="/srv/log", file="/var/own.log"), store=StoreSettings(path="/srv/a b"))
    )
    assert text.splitlines()[1] == '"/srv/log/anetcon.nat.log" "/srv/log/anetcon.float.log" "/var/own.log" {'
    assert "cat '/srv/a b/lock'" in text
    assert "kill -HUP" in text
    assert "systemctl" not in text
    words = {line.strip() for line in text.splitlines()}
    assert {"rotate 100", "daily", "compress", "delaycompress", "missingok", "notifempty"} <= words
    assert '"/var/log/anetcon/anetcon.log"' in logrotate_text(Config())


def test_the_file_of_a_sink_is_rotated_too() -> None:
    """By the same rules."""
    config = Config(sinks={"siem": {"type": "json", "to": "file:/srv/siem/a b.json"}})
    assert logrotate_text(config).splitlines()[1].endswith(' "/srv/siem/a b.json" {')
