"""What else starts the bash ANetCon is named, with what to do."""

from __future__ import annotations

from pathlib import Path

from anetcon.legacy import autostart

NAMES = {"anetcon.sh"}


def test_whatever_starts_it_is_named(tmp_path: Path) -> None:
    """rc.local, cron's tables and folders, an init script, a unit that does not run; by file, line and remedy."""
    for name, text in {
        "etc/rc.local": "#!/bin/sh\n# /usr/sbin/anetcon.sh of old\n/usr/sbin/anetcon.sh -c /srv/a.conf &\nexit 0\n",
        "etc/crontab": "@reboot root /opt/anetcon.sh\n",
        "etc/cron.hourly/again": "pgrep anetcon.sh || /usr/sbin/anetcon.sh &\n",
        "var/spool/cron/crontabs/root": "# m h\n@reboot  anetcon.sh\n",
        "etc/init.d/audit": "DAEMON=/usr/sbin/anetcon.sh\n",
        "etc/systemd/system/audit.service": "[Service]\nExecStart=/bin/bash '/usr/sbin/anetcon.sh'\n",
        "etc/systemd/system/anetcon.service": "[Service]\nExecStart=/usr/sbin/anetcon.sh\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    said = list(autostart.find(tmp_path, NAMES, [Path("/etc/systemd/system/anetcon.service")]))
    assert [line.partition(" starts")[0] for line in said] == [
        "/etc/rc.local, line 3,",
        "/etc/crontab, line 1,",
        "/etc/cron.hourly/again, line 1,",
        "/var/spool/cron/crontabs/root, line 2,",
        "/etc/init.d/audit, line 1,",
        "/etc/systemd/system/audit.service, line 2,",
    ]
    assert said[3].endswith("take that line out (`crontab -u root -e`)")
    assert said[-1].endswith("disable it (`systemctl disable audit.service`)")


def test_others_are_not_named(tmp_path: Path) -> None:
    """Comments, scripts whose name only contains it, folders, links that lead nowhere, bytes that are no text."""
    for name, content in {
        "etc/rc.local": b"#anetcon.sh\n  # anetcon.sh\nnot-anetcon.sh\nanetcon.sh.bak\nls /usr/sbin # anetcon.sh\n",
        "etc/cron.d/odd": b"\xff\xfe\x00",
        "etc/init.d/anetcon.sh/in-a-folder": b"anetcon.sh\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "etc/crontab").symlink_to("nowhere")
    assert list(autostart.find(tmp_path, NAMES)) == []
