"""Names and modes of a store's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.store import layout


def test_names_follow_from_the_seal() -> None:
    """A file's name says its partition, its seal and whether it has the long ones."""
    day = layout.day_of(1_795_179_909_000_000)
    assert day == "2026-11-20"
    assert layout.connections_file("gw1", day, 12, False) == "node=gw1/date=2026-11-20/00000012.parquet"
    assert layout.connections_file("gw1", day, 12, True) == "node=gw1/date=2026-11-20/long-00000012.parquet"
    assert layout.open_file(3) == "open/00000003.parquet"
    assert layout.interval_file("gaps", "2026-11", 7) == "gaps/2026-11.00000007.parquet"
    assert layout.part_file("routes", day, 1, 7) == "routes/2026-11-20.00000007.parquet"
    assert layout.part_file("routes", day, 12, 7) == "routes/2026-11-20-12.00000007.parquet"


def test_a_node_name_cannot_leave_its_folder() -> None:
    """What has a meaning in paths or partitions is escaped as Hive does."""
    assert layout.connections_file("a/../b=c", "2026-11-20", 1, False).startswith("node=a%2F..%2Fb%3Dc/date=")


@pytest.mark.parametrize(
    ("name", "seal"),
    [
        ("00000012.parquet", 12),
        ("long-00000012.parquet", 12),
        ("kept.00000012.parquet", 12),
        ("long-kept.00000012.parquet", 12),
        ("2026-11.00000007.parquet", 7),
        ("2026-11-20.00000007.parquet", 7),
        ("2026-11-20-12.00000007.parquet", 7),
        ("00000012.parquet.new", 12),
        ("notes.parquet", None),
        ("00000012.csv", None),
        ("parquet", None),
    ],
)
def test_the_seal_is_read_back_from_a_name(name: str, seal: int | None) -> None:
    """Our own names tell their seal, a stranger's none."""
    assert layout.seal_of_file(name) == seal


def test_what_a_name_says() -> None:
    """Month and length of stay are read back too."""
    assert layout.month_of_file("gaps/2026-11.00000007.parquet") == "2026-11"
    assert layout.part_of_file("gaps/2026-11.00000007.parquet") is None
    for part in (1, 2, 12):
        file = layout.part_file("routes", "2026-11-20", part, 7)
        assert layout.part_of_file(file) == ("2026-11-20", part)
        assert layout.month_of_file(file) == "2026-11"
        assert layout.is_named_so(file)
        assert not layout.is_named_so(file.replace("routes", "gaps"))
    assert layout.is_long("node=a/date=b/long-00000001.parquet")
    assert not layout.is_long("node=long-/date=b/00000001.parquet")
    for long in (False, True):
        kept = layout.kept_file(layout.connections_file("a", "b", 1, long), 2)
        assert (layout.is_long(kept), layout.day_of_file(kept), Path(kept).parent) == (long, "b", Path("node=a/date=b"))


def test_folders_are_not_for_everybody(tmp_path: Path) -> None:
    """A new folder can be read by owner and group alone; one that is there is left as it is."""
    tmp_path.chmod(0o755)
    layout.make_folder(tmp_path / "a" / "b")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("", "a", "a/b")] == [0o755, 0o750, 0o750]
