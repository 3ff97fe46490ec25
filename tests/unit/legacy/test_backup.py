"""Files kept aside, and put back."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.legacy import backup


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A file and a link of the old program."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "unit").write_text("theirs")
    (folder / "unit").chmod(0o750)
    (folder / "link").symlink_to("/opt/elsewhere")
    return folder


def test_what_is_kept_goes_back(tmp_path: Path, site: Path) -> None:
    """With its mode, whatever is in its place by then; links stay links."""
    kept = tmp_path / "replaced"
    files = [site / "link", site / "unit"]
    backup.keep(files, kept)
    (site / "unit").write_text("ours")
    (site / "link").unlink()
    backup.put_back(kept)
    assert backup.kept(kept) == files
    assert ((site / "unit").read_text(), (site / "unit").stat().st_mode & 0o777) == ("theirs", 0o750)
    assert (site / "link").readlink() == Path("/opt/elsewhere")
    assert sorted(each.name for each in site.iterdir()) == ["link", "unit"]


def test_half_a_copy_is_none(tmp_path: Path, site: Path) -> None:
    """What an interruption left is not put back, and is written anew."""
    kept = tmp_path / "replaced"
    backup.keep([site / "unit"], kept)
    half = kept / site.relative_to("/") / "unit.half"
    half.write_text("thei")
    assert backup.kept(kept) == [site / "unit"]
    backup.keep([site / "unit"], kept)
    assert not half.exists()


def test_the_last_copy_counts(tmp_path: Path, site: Path) -> None:
    """A site that went back, changed its file and comes again finds that one."""
    kept = tmp_path / "replaced"
    backup.keep([site / "unit"], kept)
    (site / "unit").write_text("changed")
    backup.keep([site / "unit"], kept)
    (site / "unit").unlink()
    backup.put_back(kept)
    assert (site / "unit").read_text() == "changed"
