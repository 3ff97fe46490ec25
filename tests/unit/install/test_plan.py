"""What is installed, as data."""

from __future__ import annotations

import gzip
import json
import tomllib
from pathlib import Path

import pytest

from anetcon.config.load import Loaded, load
from anetcon.install.item import Item, ItemKind
from anetcon.install.places import DEBIAN, HOST, LOGROTATE, RSYSLOG, SIGN_UNIT, TOML
from anetcon.install.plan import Choice, plan
from anetcon.install.shipped import Documents

DOCUMENTS = Documents(man={("anetcon", 1): ".TH ANETCON 1\n"}, completion={"bash": "#\n", "zsh": "#\n", "fish": "#\n"})


def configured(folder: Path, text: str = "") -> Loaded:
    """A configuration."""
    file = folder / "anetcon.toml"
    file.write_text(text)
    return load(file, environment={})


def planned(loaded: Loaded, choice: Choice) -> dict[str, Item]:
    """The plan by path."""
    items = plan(loaded, DOCUMENTS, choice)
    assert len({item.path for item in items}) == len(items)
    return {item.path: item for item in items}


def test_a_host(tmp_path: Path) -> None:
    """Where what goes, with its mode and owner; below /etc it is the operator's as soon as it is edited."""
    items = planned(configured(tmp_path), Choice(link="/opt/anetcon/bin/anetcon", enable=True))
    assert {(i.path, oct(i.mode), i.owner, i.group) for i in items.values() if i.kind is ItemKind.DIRECTORY} == {
        ("/etc/anetcon", "0o755", "root", "root"),
        ("/var/lib/anetcon", "0o750", "anetcon", "adm"),
        ("/var/lib/anetcon-sign", "0o750", "anetcon-sign", "adm"),
        ("/var/log/anetcon", "0o750", "anetcon", "adm"),
    }
    assert (items[TOML].mode, items[TOML].group) == (0o640, "adm")
    assert items["/usr/local/bin/anetcon"].content == b"/opt/anetcon/bin/anetcon"
    assert b"ExecStart=/usr/local/bin/anetcon run\n" in items["/etc/systemd/system/anetcon.service"].content
    assert "/etc/systemd/system/multi-user.target.wants/anetcon.service" in items
    assert b"ExecStart=/usr/local/bin/anetcon sign\n" in items["/etc/systemd/system/anetcon-sign.service"].content
    assert b"u anetcon-sign - " in items["/etc/sysusers.d/anetcon.conf"].content
    assert b"u anetcon - " in items["/etc/sysusers.d/anetcon.conf"].content
    assert "/usr/local/share/man/man1/anetcon.1" in items
    assert "/usr/local/share/bash-completion/completions/anetcon" in items
    assert RSYSLOG not in items
    assert all(
        i.kind is ItemKind.CONFIGURATION for p, i in items.items() if p.startswith("/etc/") and i.content[:1] == b"#"
    )


def test_the_debian_package(tmp_path: Path) -> None:
    """The same below /usr, where nothing is edited; man pages are compressed without a time in them."""
    items = planned(configured(tmp_path), Choice(layout=DEBIAN))
    assert items["/usr/lib/systemd/system/anetcon.service"].kind is ItemKind.PROGRAM
    assert b"ExecStart=/usr/bin/anetcon run\n" in items["/usr/lib/systemd/system/anetcon.service"].content
    page = items["/usr/share/man/man1/anetcon.1.gz"].content
    assert gzip.decompress(page) == b".TH ANETCON 1\n"
    assert page[4:8] == bytes(4)
    assert items[TOML].kind is items[LOGROTATE].kind is ItemKind.CONFIGURATION
    assert not [path for path in items if "wants" in path or path.startswith("/usr/local")]


def test_what_the_configuration_decides(tmp_path: Path) -> None:
    """Folders elsewhere are made and left writable by the unit; a LOG engine has its drop-in; rsyslog its snippet."""
    text = '[audit]\nengine = "nftables-log"\n[store]\npath = "/srv/audit"\n[logs]\nfile = "/var/log/anetcon.log"\n'
    items = planned(configured(tmp_path, text), Choice(rsyslog=True, old_configuration=True))
    drop_ins = {Path(path).name: item.content for path, item in items.items() if "anetcon.service.d/" in path}
    signs = items[HOST.drop_in("50-folders", SIGN_UNIT)].content
    assert signs.endswith(b"[Service]\nReadWritePaths=-/srv/audit-sign\n")
    assert drop_ins["50-folders.conf"].endswith(b"[Service]\nReadWritePaths=-/srv/audit\n")
    assert b"CAP_SYSLOG" in drop_ins["50-engine.conf"]
    spaces = 'node = "a"\n[store]\npath = "/srv/100% \\"my\\" audit"\n'
    folders = planned(configured(tmp_path, spaces), Choice())[HOST.drop_in("50-folders")].content.decode()
    assert folders.splitlines()[2:] == [
        r'RequiresMountsFor="/srv/100%% \"my\" audit"',
        "[Service]",
        r'ReadWritePaths="-/srv/100%% \"my\" audit"',
    ]
    assert (items["/srv/audit"].kind, items["/srv/audit"].owner) == (ItemKind.DIRECTORY, "anetcon")
    sink = '[sinks.siem]\ntype = "json"\nto = "file:/srv/siem/a.json"\n'
    shipped = planned(configured(tmp_path, sink), Choice())
    assert shipped[HOST.drop_in("50-folders")].content.endswith(b"ReadWritePaths=-/srv/siem\n")
    assert b'"/srv/siem/a.json"' in shipped[LOGROTATE].content
    assert "/var/log" not in items, "a folder of everybody's is never given away"
    assert b'"/srv/audit/lock"' in items[LOGROTATE].content or b"/srv/audit/lock" in items[LOGROTATE].content
    assert b"anetcon.nat.log" in items[RSYSLOG].content
    assert TOML not in items, "the configuration of the bash ANetCon stays the configuration"


def test_a_program_in_a_home_directory(tmp_path: Path) -> None:
    """As much of it as is needed is shown to the service, which sees no home directory else."""
    items = planned(configured(tmp_path), Choice(exposed=("/root/.local/venv",)))
    text = items[HOST.drop_in("50-place")].content.decode()
    assert text == items[HOST.drop_in("50-place", SIGN_UNIT)].content.decode()
    assert text.endswith("[Service]\nProtectHome=tmpfs\nBindReadOnlyPaths=/root/.local/venv\n")


@pytest.mark.parametrize("path", [LOGROTATE, TOML, RSYSLOG])
def test_what_is_written_beside_is_read_by_nobody(path: str, tmp_path: Path) -> None:
    """logrotate reads every file of its folder but those with certain endings, of which `.new` is none."""
    item = planned(configured(tmp_path), Choice(rsyslog=True))[path]
    assert item.beside == path + (".dpkg-dist" if path == LOGROTATE else ".new")


def test_the_installed_configuration_means_the_defaults(tmp_path: Path) -> None:
    """It reads as the one setting that is no default, how many days are kept, and names each."""
    content = planned(configured(tmp_path), Choice())[TOML].content.decode()
    assert tomllib.loads(content) == {"audit": {}, "store": {"retention_days": 180}, "logs": {}}
    (tmp_path / "written.toml").write_text(content)
    loaded = load(tmp_path / "written.toml", environment={})
    assert json.dumps(loaded.resolved()["audit"]) == json.dumps(configured(tmp_path).resolved()["audit"])
