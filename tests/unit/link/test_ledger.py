"""Where rules of ours may be is known after a crash, and forgotten when they are gone for certain."""

from __future__ import annotations

from pathlib import Path

from anetcon.link.ledger import COMPACT_LINES, Leftovers

A, B = ("iptables-log", "anetcon"), ("nftables-log", "anetcon")


def opened(folder: Path) -> tuple[Leftovers, list[str]]:
    """As a new daemon reads it, and what it reports."""
    told: list[str] = []
    return Leftovers(folder / "rules.jsonl", told.append), told


def test_what_was_added_is_known_to_the_next_until_it_is_gone(tmp_path: Path) -> None:
    """Every engine's rules are remembered by namespace; `only` says which are left."""
    left, _ = opened(tmp_path)
    assert left.add("r", tmp_path / "r", 7, A) == []
    assert left.add("r", tmp_path / "r", 7, B) == [A]
    left.add("default", None, 8, A)
    again, _ = opened(tmp_path)
    assert {(place.netns, place.path, *place.rules) for place in again.places.values()} == {
        ("r", tmp_path / "r", A, B),
        ("default", None, A),
    }
    again.only(7, B)
    again.only(8, None)
    third, told = opened(tmp_path)
    assert [(place.inode, place.rules) for place in third.places.values()] == [(7, [B])]
    assert told == []


def test_lines_of_another_boot_and_torn_ones_are_passed_over(tmp_path: Path) -> None:
    """Inodes mean nothing after a boot."""
    left, _ = opened(tmp_path)
    left.add("r", None, 7, A)
    file = tmp_path / "rules.jsonl"
    file.write_text(file.read_text().replace('"inode": 7', '"inode": 9') + file.read_text()[:-9])
    assert list(opened(tmp_path)[0].places) == [9]
    file.write_text(file.read_text().replace(left._boot, "another"))
    assert opened(tmp_path)[0].places == {}


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    """Where namespaces come and go it is written anew now and then."""
    left, _ = opened(tmp_path)
    for inode in range(COMPACT_LINES):
        left.add("r", None, inode, A)
        left.only(inode, None)
    left.add("r", None, 7, A)
    assert len((tmp_path / "rules.jsonl").read_bytes().splitlines()) < COMPACT_LINES + 10
    assert list(opened(tmp_path)[0].places) == [7]


def test_a_disk_that_takes_nothing_is_reported_once(tmp_path: Path) -> None:
    """The rules matter more than the note of them."""
    left, told = opened(tmp_path / "nowhere")
    left.add("r", None, 7, A)
    left.add("s", None, 8, A)
    assert len(told) == 1
    assert set(left.places) == {7, 8}


def test_a_place_is_the_same_only_with_its_inode(tmp_path: Path) -> None:
    """A name that came back as another namespace holds nothing of ours."""
    left, _ = opened(tmp_path)
    file = tmp_path / "r"
    file.touch()
    left.add("r", file, file.stat().st_ino, A)
    left.add("s", file, 1, A)
    left.add("t", tmp_path / "none", 2, A)
    left.add("default", None, 3, A)
    assert [place.is_there(3) for place in left.places.values()] == [True, False, False, True]
