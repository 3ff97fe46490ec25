"""The list of namespaces where somebody else writes the text logs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from anetcon.config.model import Config
from anetcon.follow.settings import Settings
from anetcon.follow.sinks.hash_file import Hashes, HashFile
from anetcon.system.printable import namespace_hash, recorded
from tests.support.records import Making, start


def test_names_of_the_journal_are_listed(tmp_path: Path) -> None:
    """Each namespace once, sorted, those of later flushes too; what is there stays; no text log is made."""
    file = tmp_path / "namespace.hash"
    file.write_text("z [00000000]\n")
    hashes = Hashes(Settings(tmp_path, "gw1", logs=False, rsyslog=True, folder=tmp_path / "log", hash_file=file))
    assert hashes.step() is False
    making = Making(tmp_path)
    making.add(start(netns="b"), start(netns="default", src_port=2))
    hashes.step()
    making.rotate().add(start(netns="a"), start(netns="b", src_port=3))
    hashes.step()
    assert file.read_text().splitlines() == [f"a [{namespace_hash('a')}]", f"b [{namespace_hash('b')}]", "z [00000000]"]
    assert not (tmp_path / "log").exists()


def test_names_that_anybody_chose(tmp_path: Path) -> None:
    """A line each, as it is recorded, with the hash of the true name; lines that are no text stay."""
    file = tmp_path / "namespace.hash"
    file.write_bytes(b"\xff [00000000]\n")
    hashes = HashFile(file)
    hashes.add([recorded("a\nb [00000000]"), recorded("\\")])
    forged = hashlib.md5(b"a\nb [00000000]", usedforsecurity=False).hexdigest()[:8]
    slash = hashlib.md5(b"\\", usedforsecurity=False).hexdigest()[:8]
    lines = [rb"\\ [%s]" % slash.encode(), rb"a\x0ab [00000000] [%s]" % forged.encode(), b"\xff [00000000]"]
    assert file.read_bytes().splitlines() == lines


def test_who_writes() -> None:
    """With rsyslog as the writer the text logs are not ours, and only where they are wanted at all."""

    def of(enabled: bool, writer: str) -> tuple[bool, bool]:
        resolved = msgspec.to_builtins(Config(node="n"))
        resolved["logs"] |= {"enabled": enabled, "writer": writer}
        settings = Settings.of(resolved)
        return settings.logs, settings.rsyslog

    assert of(enabled=True, writer="rsyslog") == (False, True)
    assert of(enabled=True, writer="anetcon") == (True, False)
    assert of(enabled=False, writer="rsyslog") == (False, False)
