"""Where the record is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anetcon.doctor import disk
from anetcon.doctor.disk import GIB, Room
from anetcon.doctor.finding import Severity
from anetcon.store.layout import day_of
from tests.support.doctor_parts import NOW, ill, machine, one, root_with

STORE = Path("/var/lib/anetcon")


@pytest.mark.parametrize(
    ("room", "growth", "severity"),
    [
        (Room(50 * GIB, 99 * GIB, None), None, Severity.OK),
        (Room(50 * GIB, 99 * GIB, None), 1 * GIB, Severity.OK),
        (Room(5 * GIB, 99 * GIB, None), 1 * GIB, Severity.WARNING),
        (Room(5 * GIB, 99 * GIB, None), 6 * GIB, Severity.PROBLEM),
        (Room(GIB // 4, 99 * GIB, None), None, Severity.WARNING),
        (Room(GIB // 20, 99 * GIB, None), 0, Severity.PROBLEM),
        (Room(50 * GIB, 99 * GIB, 5_000), None, Severity.WARNING),
    ],
)
def test_the_room(room: Room, growth: int | None, severity: Severity) -> None:
    """Against the growth of a day, and against what the host itself needs."""
    (found,) = disk.space(STORE, room, growth, machine())
    assert found.severity is severity
    assert severity is Severity.OK or found.remedy


def test_a_store_that_is_bounded_may_fill_its_disk() -> None:
    """With max_gigabytes the oldest records go, so a week of room is not asked for."""
    room, growth = Room(5 * GIB, 99 * GIB, None), 1 * GIB
    assert ill(disk.space(STORE, room, growth, machine(store__max_gigabytes=4.0))) == []


def test_growth_is_that_of_the_largest_of_the_last_days(tmp_path: Path) -> None:
    """Today is not over yet, and what is older than a week says nothing."""
    assert disk.growth_of(tmp_path, NOW) is None
    for back, size in ((0, 9000), (1, 100), (2, 300), (9, 5000)):
        day = day_of(int((NOW - back * 86400) * 1e6))
        root_with(tmp_path, {f"node=gw1/date={day}/1.parquet": "x" * size})
    assert disk.growth_of(tmp_path, NOW) == 300


@pytest.mark.parametrize(
    ("kind", "options", "severities"),
    [
        ("ext4", "rw", ["ok"]),
        ("tmpfs", "rw", ["warning"]),
        ("nfs4", "rw", ["warning"]),
        ("xfs", "ro", ["ok", "problem"]),
    ],
)
def test_the_kind_of_file_system(tmp_path: Path, kind: str, options: str, severities: list[str]) -> None:
    """One that forgets, one over the network, one that is read-only."""
    root = root_with(
        tmp_path, {"proc/self/mountinfo": f"27 1 254:0 / / {options},relatime - {kind} /dev/x {options}\n"}
    )
    found = list(disk.kind(STORE, machine(root)))
    assert [each.severity for each in found] == severities
    ill(found)


def test_a_file_in_the_place_of_the_store(tmp_path: Path) -> None:
    """It is found by root, who alone can start the daemon."""
    (tmp_path / "store").write_text("")
    found = ill(disk.writable(tmp_path / "store", machine(logs__dir=str(tmp_path))))
    assert len(found) == (os.geteuid() == 0)


def test_a_folder_in_the_place_of_a_sink(tmp_path: Path) -> None:
    """It is named, with the sink; a file, or nothing yet, is well."""
    for path, wrong in ((tmp_path, 1), (tmp_path / "none.json", 0)):
        seen = machine(sinks__siem={"type": "json", "form": "anetcon", "to": f"file:{path}"})
        found = ill(disk.writable(tmp_path, seen))
        assert len(found) == wrong * (os.geteuid() == 0)
        assert all("sink siem gets nothing" in (each.means or "") for each in found)


def test_sealing_that_does_not_keep_up(tmp_path: Path) -> None:
    """Files of the journal that are hours old while a daemon runs were not sealed."""
    path = root_with(tmp_path, {"journal/connections/1.arrows": "", "journal/connections/2.arrows": ""})
    seen = machine(store__path=str(tmp_path))
    for name, age in (("1.arrows", 3 * 3600), ("2.arrows", 60)):
        os.utime(path / "journal/connections" / name, (NOW - age, NOW - age))
    assert one(disk.journal(seen)).found.startswith("1 files of the journal are still there, the oldest after 3 hours")
    assert list(disk.journal(machine(store__path=str(tmp_path / "none")))) == []


def test_the_whole_of_it(tmp_path: Path) -> None:
    """A store that is not there yet is judged by the folder it will be made in."""
    assert any(str(tmp_path) in each.found for each in disk.disk(machine(store__path=str(tmp_path / "a" / "b"))))
