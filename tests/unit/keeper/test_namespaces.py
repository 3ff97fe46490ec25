"""Watching a folder of namespaces: links to namespaces of this process stand in for mounts."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.keeper import namespaces
from anetcon.keeper.namespaces import Namespaces, events_of
from anetcon.system import syscalls as sc
from anetcon.system.clock import now_us
from tests.support.waiting import wait_until

NET, UTS = Path("/proc/self/ns/net"), Path("/proc/self/ns/uts")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where namespaces have their names; not there yet."""
    return tmp_path / "run" / "netns"


@pytest.fixture
def watch(folder: Path) -> Iterator[Namespaces]:
    """Watches for every name but those that begin with a dot."""
    watching = Namespaces(str(folder), lambda name: not name.startswith("."))
    yield watching
    watching.close()


def inodes(watch: Namespaces) -> dict[str, int]:
    """What is present."""
    return {name: found.inode for name, found in watch.present.items()}


def look_again(watch: Namespaces) -> Namespaces:
    """After what is due was looked at again."""
    watch.look_again()
    return watch


def test_a_listing_finds_namespaces_only(watch: Namespaces, folder: Path) -> None:
    """Plain files and names that are not selected are none."""
    folder.mkdir(parents=True)
    (folder / "one").symlink_to(NET)
    (folder / ".two").symlink_to(NET)
    (folder / "plain").touch()
    watch.scan()
    assert inodes(watch) == {"one": NET.stat().st_ino}
    assert not watch.present["one"].newborn


def test_events_tell_of_names_that_come_and_go(watch: Namespaces, folder: Path) -> None:
    """A new name is newborn, one that is removed is gone, without any listing."""
    folder.mkdir(parents=True)
    watch.on_events()
    (folder / "one").symlink_to(NET)
    watch.on_events()
    assert inodes(watch) == {"one": NET.stat().st_ino}
    assert watch.present["one"].newborn
    (folder / "one").unlink()
    watch.on_events()
    assert inodes(watch) == {}


def test_the_folder_may_come_step_by_step(watch: Namespaces, folder: Path) -> None:
    """Its nearest ancestor is watched until it is there, and what is in it by then is found."""
    folder.parent.mkdir()
    watch.on_events()
    folder.mkdir()
    (folder / "early").symlink_to(NET)
    watch.on_events()
    assert list(watch.present) == ["early"]
    (folder / "late").symlink_to(UTS)
    watch.on_events()
    assert sorted(watch.present) == ["early", "late"]


def test_the_folder_may_be_replaced(watch: Namespaces, folder: Path) -> None:
    """Another folder under the same path is watched in its place; what was in the old one is gone."""
    folder.mkdir(parents=True)
    (folder / "old").symlink_to(NET)
    watch.scan()
    folder.rename(folder.with_name("aside"))
    watch.on_events()
    assert watch.present == {}
    folder.mkdir()
    watch.on_events()
    (folder / "new").symlink_to(NET)
    watch.on_events()
    assert list(watch.present) == ["new"]


def test_a_listing_notices_a_folder_that_was_replaced_unseen(watch: Namespaces, folder: Path) -> None:
    """A folder that is another one than before is watched anew by the listing alone."""
    folder.mkdir(parents=True)
    watch.scan()
    folder.rmdir()
    folder.mkdir()
    watch.scan()
    (folder / "one").symlink_to(NET)
    watch.on_events()
    assert list(watch.present) == ["one"]


def test_a_name_that_comes_back_with_another_inode_is_another(watch: Namespaces, folder: Path) -> None:
    """Removed and made again between two looks, it is a new find."""
    folder.mkdir(parents=True)
    (folder / "one").symlink_to(NET)
    watch.scan()
    before = watch.present["one"]
    (folder / "one").unlink()
    (folder / "one").symlink_to(UTS)
    watch.on_events()
    assert watch.present["one"] is not before
    assert inodes(watch) == {"one": UTS.stat().st_ino}


def test_the_mount_may_come_after_the_file(watch: Namespaces, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file is looked at again until it has become a namespace."""
    monkeypatch.setattr(namespaces, "PATIENCE", 60.0)
    folder.mkdir(parents=True)
    watch.scan()
    (folder / "one").touch()
    watch.on_events()
    assert watch.present == {}
    pause = watch.pause()
    assert pause is not None
    assert pause <= 0.001
    (folder / "made").symlink_to(NET)
    (folder / "made").rename(folder / "one")
    wait_until(lambda: look_again(watch).present, 1, "it is found", every=0.001)
    assert watch.pause() is None
    assert watch.present["one"].newborn


def test_a_file_that_stays_plain_is_named_once(watch: Namespaces, folder: Path) -> None:
    """After a second of looking it is given up, and told."""
    folder.mkdir(parents=True)
    watch.scan()
    (folder / "plain").touch()
    watch.on_events()
    wait_until(lambda: look_again(watch).never_became, 5, "it is given up", every=0.005)
    assert watch.never_became == ["plain"]
    assert watch.pause() is None


def test_another_selection_takes_effect_at_the_next_listing(watch: Namespaces, folder: Path) -> None:
    """Names that are not selected any more are gone."""
    folder.mkdir(parents=True)
    for name in ("one", "two"):
        (folder / name).symlink_to(NET)
    watch.scan()
    watch.select(lambda name: name == "two")
    watch.scan()
    assert list(watch.present) == ["two"]


def test_an_overflow_is_mended_by_a_listing(watch: Namespaces, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the kernel dropped events, everything is looked at."""
    folder.mkdir(parents=True)
    watch.on_events()
    (folder / "one").symlink_to(NET)
    overflow = struct.pack("=iIII", -1, sc.IN_Q_OVERFLOW, 0, 0)
    answers = [overflow]

    def read(_descriptor: int, _size: int) -> bytes:
        if not answers:
            raise BlockingIOError
        return answers.pop()

    monkeypatch.setattr(os, "read", read)
    watch.on_events()
    assert list(watch.present) == ["one"]


@given(st.binary(max_size=200))
def test_torn_events_end_the_reading(data: bytes) -> None:
    """Whatever bytes come, reading ends, and every name is text without a zero byte."""
    for _, _, name in events_of(data):
        assert "\0" not in name


@given(st.lists(st.tuples(st.integers(1, 100), st.sampled_from([0x100, 0x200]), st.binary(max_size=20)), max_size=5))
def test_whole_events_are_read_whole(events: list[tuple[int, int, bytes]]) -> None:
    """What the kernel packs is what comes out."""
    events = [(watch, mask, name.replace(b"\0", b"")) for watch, mask, name in events]
    data = b"".join(
        struct.pack("=iIII", watch, mask, 0, len(name) + 4) + name + bytes(4) for watch, mask, name in events
    )
    assert list(events_of(data)) == [(watch, mask, os.fsdecode(name)) for watch, mask, name in events]


def test_what_came_and_went_between_two_looks(watch: Namespaces, folder: Path) -> None:
    """It is told once, with the time since the last look; what was seen is not."""
    folder.mkdir(parents=True)
    watch.on_events()
    before = now_us()
    watch.on_events()
    (folder / "seen").symlink_to(NET)
    watch.on_events()
    for name in ("unseen", ".unselected"):
        (folder / name).symlink_to(NET)
        (folder / name).unlink()
    (folder / "seen").unlink()
    watch.on_events()
    ((name, since),) = watch.missed
    assert name == "unseen"
    assert before <= since <= now_us()
    watch.missed.clear()
    (folder / "twice").symlink_to(NET)
    (folder / "twice").unlink()
    (folder / "twice").symlink_to(NET)
    watch.on_events()
    assert [name for name, _ in watch.missed] == ["twice"]
    assert "twice" in watch.present


def test_a_file_that_vanishes_before_it_is_a_namespace(
    watch: Namespaces, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two looks it may have been one."""
    monkeypatch.setattr(namespaces, "PATIENCE", 60.0)
    folder.mkdir(parents=True)
    watch.on_events()
    (folder / "plain").touch()
    watch.on_events()
    assert watch.missed == []
    (folder / "plain").unlink()
    wait_until(lambda: look_again(watch).missed, 5, "it is missed", every=0.005)
    (folder / "other").touch()
    watch.on_events()
    (folder / "other").unlink()
    watch.on_events()
    assert [name for name, _ in watch.missed] == ["plain", "other"]


def test_only_names_that_are_another_than_before_are_changes(watch: Namespaces, folder: Path) -> None:
    """Each once; what comes and goes and is none of ours is no change."""
    folder.mkdir(parents=True)
    watch.scan()
    (folder / "one").symlink_to(NET)
    (folder / ".two").symlink_to(NET)
    watch.on_events()
    watch.look_again()
    assert [watch.changes(), watch.changes()] == [{"one"}, set()]
    watch.scan()
    assert watch.changes() == set()
    (folder / "one").unlink()
    watch.scan()
    assert watch.changes() == {"one"}
