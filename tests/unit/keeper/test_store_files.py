"""The keeper's files: one owner of a store, whole contents, values saved once."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from anetcon.errors import AlreadyRunningError, StoreError
from anetcon.keeper import store_files
from anetcon.keeper.children import Reaper
from anetcon.keeper.loop import Loop
from anetcon.keeper.store_files import Aside

FOUND = {"nf_conntrack_events": "2"}


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop that ends within 40 s; signals are as before afterwards."""
    before = signal.getsignal(signal.SIGCHLD)
    made = Loop()
    made.after(40, made.stop)
    yield made
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, before)


def test_a_store_is_made_and_owned_once(tmp_path: Path) -> None:
    """The lock holds the process id, keeps others out, and is free when it is closed."""
    store = tmp_path / "deep" / "store"
    lock = store_files.lock_store(str(store))
    assert (store / "lock").read_text() == f"{os.getpid()}\n"
    assert store.stat().st_mode & 0o777 == 0o750
    with pytest.raises(AlreadyRunningError, match=f"process {os.getpid()}, owns {store}: stop it first"):
        store_files.lock_store(str(store))
    os.close(lock)
    os.close(store_files.lock_store(str(store)))


def test_a_lock_left_by_a_killed_daemon_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the process that is named is dead, its children are given a moment to die too."""
    lock = store_files.lock_store(str(tmp_path))
    os.pwrite(lock, b"4194305\n", 0)  # above any process id
    monkeypatch.setattr("time.monotonic", iter(range(100)).__next__)
    with pytest.raises(AlreadyRunningError):
        store_files.lock_store(str(tmp_path))
    monkeypatch.undo()
    os.close(lock)


def test_a_lock_names_nobody_who_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk, which does not take a number, it is rather empty."""
    (tmp_path / "lock").write_text("4194305\n")
    monkeypatch.setattr(os, "pwrite", _full)
    os.close(store_files.lock_store(str(tmp_path)))
    assert (tmp_path / "lock").read_text() == ""


def test_a_store_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    """The message names the folder and what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot use .*: Not a directory; give another by --store"):
        store_files.lock_store(str(tmp_path / "file" / "store"))


def test_a_file_is_replaced_by_a_child(tmp_path: Path, loop: Loop) -> None:
    """One replacement at a time; the content is whole and nothing is left aside."""
    path = tmp_path / "status.json"
    aside = Aside(Reaper(loop), path)
    assert aside.write(b"first" * 100_000)
    assert not aside.write(b"too soon")

    def again() -> None:
        if aside.write(b"second"):
            loop.after(0.01, finish)
        else:
            loop.after(0.01, again)

    def finish() -> None:
        if path.read_bytes() == b"second":
            loop.stop()
        else:
            loop.after(0.01, finish)

    loop.after(0.01, again)
    loop.run()
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o137 == 0
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_program_before_has_begun_to_write_is_waited_for(tmp_path: Path, loop: Loop) -> None:
    """Two at once would write into one file aside, and a reader see half of it."""
    path = tmp_path / "status.json"
    reading, writing = os.pipe()
    pid = os.posix_spawnp("cat", ["cat"], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0)])
    aside = Aside(Reaper(loop), path, pid)
    assert not aside.write(b"too soon")
    for descriptor in (reading, writing):
        os.close(descriptor)

    def again() -> None:
        if path.exists():
            loop.stop()
        else:
            aside.write(b"now")

    loop.every(0.01, again)
    loop.run()
    assert path.read_bytes() == b"now"


def test_a_full_disk_is_told_in_the_blocks_there_are(
    tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nothing new fits, the file is written over where it is, if it fits there; nothing is left aside."""
    path = tmp_path / "status.json"
    path.write_bytes(b"x" * 3000)

    def full(target: Path, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(store_files, "replace", full)
    aside = Aside(Reaper(loop), path)
    assert aside.write(b"{}")
    loop.every(0.01, lambda: loop.stop() if path.read_bytes().rstrip() == b"{}" else None)
    loop.run()
    with pytest.raises(OSError, match="No space"):
        store_files.rewrite(path, b"y" * 5000)
    assert path.read_bytes().rstrip() == b"{}"


def test_a_reader_sees_what_was_written_over_or_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the file between two steps of its writer finds one of the two whole, also when it got shorter."""
    path, seen = tmp_path / "status.json", []
    path.write_text(json.dumps({"of": "before" * 100}))
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        written = real(descriptor, data)
        seen.append(json.loads(path.read_bytes()))
        return written

    monkeypatch.setattr(os, "write", write)
    store_files.rewrite(path, b'{"of": "now"}\n')
    assert seen == [{"of": "now"}]


def test_a_lock_that_everybody_could_hold(tmp_path: Path) -> None:
    """The mode that versions before gave it is mended; a link in its place is one sentence."""
    (tmp_path / "lock").touch()
    (tmp_path / "lock").chmod(0o640)
    os.close(store_files.lock_store(str(tmp_path)))
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    (tmp_path / "lock").rename(tmp_path / "another")
    (tmp_path / "lock").symlink_to(tmp_path / "another")
    with pytest.raises(StoreError, match=r"cannot use .*lock as the store"):
        store_files.lock_store(str(tmp_path))


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
