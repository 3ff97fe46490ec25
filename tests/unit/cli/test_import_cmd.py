"""The command: its options, its report, what it says when something is wrong."""

from __future__ import annotations

import gzip
import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from anetcon.errors import NOT_FOUND, InputError, StoreError
from anetcon.system.printable import namespace_hash
from tests.support.asking import Answer
from tests.support.old_lines import NEW, line
from tests.support.records import DAY, ROUTER, SECOND, T0
from tests.support.rooms import belongs_to

pytestmark = belongs_to("history")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where it goes, and the file of hashes that is looked for there."""
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "namespace.hash").write_text(f"{ROUTER} [{namespace_hash(ROUTER)}]\n")
    return folder


def take(store: Path, text: str, *words: str | Path) -> Answer:
    """Import one file."""
    path = store.parent / "old.log"
    path.write_text(text)
    os.utime(path, (T0 / 1e6, T0 / 1e6))
    return Answer("import", path, "--store", store, *words)


def rows(store: Path) -> list[dict[str, Any]]:
    """What a search finds."""
    return Answer("search", "--store", store, "--format", "jsonl").lines


def test_the_report(store: Path) -> None:
    """In words and as JSON: what was read, added, left out, from when to when; namespaces, year and zone."""
    text = line(1) + line(2, fine=False) + line(3, mark="[11111111]") + "x\n" + line(4)[:80] + "\n"
    said = take(store, text, "--tz", "UTC").out
    for words in (
        "5 lines: 3 connections added",
        "1 unreadable",
        "1 of others",
        "year 2026 (not after 2026-11-20",
        "[11111111]",
    ):
        assert words in said
    assert "read as UTC" in said
    report = take(store, text, "--tz", "UTC", "--format", "json").json
    assert report["total"] | {"lines": 5, "added": 0, "already": 3, "unreadable": 1, "others": 1} == report["total"]
    assert (report["total"]["from"], report["unknown_namespaces"]) == ("2026-11-20T13:05:09.000000Z", {"[11111111]": 1})
    assert Path(report["unreadable_in"]).read_text().startswith(f"{store.parent / 'old.log'}:5: ")
    assert report["files"][0]["year"].startswith("2026 ")
    assert rows(store)[0]["netns"] == ROUTER


def test_zones(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stamp without a zone is in this machine's, unless another is named."""
    monkeypatch.setenv("TZ", "America/New_York")
    said = take(store, line(1, fine=False), "--node", "a").out
    take(store, line(1, fine=False), "--tz", "Europe/Madrid", "--node", "b")
    starts = {row["node"]: row["start"] for row in rows(store)}
    assert starts == {"a": "2026-11-20T18:05:09.000000Z", "b": "2026-11-20T12:05:09.000000Z"}
    assert "read as America/New_York (this machine's)" in said
    monkeypatch.delenv("TZ")
    assert "(this machine's)" in take(store, line(1, fine=False)).out
    assert take(store, "", "--tz", "Nowhere").status == 2


def test_until(store: Path) -> None:
    """The year of stamps without one, where the file's dates are wrong."""
    take(store, line(1, fine=False), "--until", "2024-12-31", "--tz", "UTC")
    assert rows(store)[0]["start"] == "2024-11-20T13:05:09.000000Z"
    for day, why in (
        ("yesterday", "write it like"),
        ("1999-12-31", "no line is from before 2001"),
        ("", "leave it out"),
    ):
        said = take(store, line(1, fine=False), "--until", day)
        assert (said.status, why in said.err) == (2, True), day


def test_namespaces_given(store: Path, tmp_path: Path) -> None:
    """For lines without a hash and for events; a file of hashes of another name, which must be there then."""
    guessed = "events of conntrack were taken for those of namespace default: --netns names another"
    assert guessed not in take(store, line(1, mark="") + NEW, "--netns", "gw").out
    assert {row["netns"] for row in rows(store)} == {"gw"}
    assert guessed in take(store, NEW).out
    assert guessed not in take(store, line(1)).out
    other = tmp_path / "other.hash"
    other.write_text("mine [11111111]\n")
    take(store, line(2, T0 + SECOND, mark="[11111111]"), "--hash-file", other)
    assert rows(store)[-1]["netns"] == "mine"
    other.write_text("mine [11111111]\nyours [11111111]\n")
    said = take(store, line(2, T0 + DAY // 2, mark="[11111111]"), "--hash-file", other).out
    assert "for which the file of hashes has no name or several: [11111111] (1 lines)" in said
    assert take(store, "", "--hash-file", tmp_path / "nowhere").status == InputError.exit_status
    assert [take(store, line(1), option, "").status for option in ("--netns", "--node")] == [2, 2]


def test_a_file_that_may_not_be_read(store: Path) -> None:
    """It is an error that names it, as a missing one is, and no wrong usage."""
    path = store.parent / "old.log"
    for given in ([path], [os.devnull, "--hash-file", path]):
        path.write_text(line(1))
        path.chmod(0)
        words = ["import", *given, "--store", store]
        script = "import sys; from anetcon.cli.main import main; main()"
        nobody = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
        command = [*nobody, sys.executable, "-c", script, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, f"{path}: Permission denied" in done.stderr) == (InputError.exit_status, True), done


def test_configured(store: Path, tmp_path: Path) -> None:
    """Prefix, node, hashes and retention come from the configuration; what it would delete is said first."""
    config = tmp_path / "a.toml"
    config.write_text(
        f'node = "n1"\n[store]\npath = "{store}"\nretention_days = 2\nmin_free_gigabytes = 0\n'
        '[logs]\nprefix = "FW"\nnamespace_hash = false\n'
    )
    path = tmp_path / "x.log"
    path.write_text(line(1).replace("[ANETCON]", "FW").replace(f"[{namespace_hash(ROUTER)}]", ""))
    said = Answer("import", path, "-c", config)
    assert "store.retention_days = 2" in said.err
    assert ("too old to be kept" in said.out) == (int(path.stat().st_mtime * 1e6) - T0 > 3 * DAY)
    config.write_text(config.read_text().replace("retention_days = 2\n", ""))
    assert "1 connections added" in Answer("import", path, "-c", config).out
    (row,) = Answer("search", "--store", store, "--format", "jsonl").lines
    assert (row["node"], row["netns"]) == ("gw1", "unknown")


def test_files_that_are_not_whole(store: Path) -> None:
    """One that is missing stops all at first; what is before a damage is imported, and said."""
    missing = Answer("import", store.parent / "nowhere.log", "--store", store)
    assert (missing.status, "nothing was imported" in missing.err) == (InputError.exit_status, True)
    assert Answer("import", store, "--store", store).status == InputError.exit_status
    torn = store.parent / "torn.gz"
    torn.write_bytes(gzip.compress(b"".join(line(port).encode() for port in range(500)))[:-9])
    said = Answer("import", torn, "--store", store)
    assert (said.status, "torn off" in said.err) == (InputError.exit_status, True)
    assert len(rows(store)) == 100


def test_what_a_crash_left_of_a_compressed_file(store: Path) -> None:
    """Nothing, or zeros, is damage, though it is no compressed file any more; plain text of that name is read."""
    file = store.parent / "x.log.2.gz"
    for data, status in ((b"", 12), (bytes(5000), 12), (line(1).encode(), 0)):
        file.write_bytes(data)
        said = Answer("import", file, "--store", store)
        assert said.status == status, said.err
        assert ("not the compressed file that it is called" in said.err) == bool(status)


def test_nothing_that_can_be_read(store: Path) -> None:
    """Lines of ours that are all unreadable are an error that says where they are; no line of ours is nothing found; an
    empty log, and one broken line among good ones, are neither."""
    broken = take(store, line(1)[:80] + "\n" + line(2)[:80] + "\n" + "x\n")
    assert broken.status == InputError.exit_status
    assert "no line of ours can be read in" in broken.err
    assert str(store / "import" / "unreadable-") in broken.err
    others = take(store, "x\n" * 3)
    assert (others.status, "LOG_PREFIX" in others.err) == (NOT_FOUND, True)
    assert [take(store, text).status for text in ("", line(1)[:80] + "\n" + line(2), line(2), NEW)] == [0] * 4


def test_events_that_tell_no_time(store: Path) -> None:
    """Text of conntrack without times is no record: that is said, and it is an error where there is nothing else."""
    bare = take(store, NEW.partition("\t")[2])
    assert (bare.status, "1 events of conntrack tell no time" in bare.err) == (InputError.exit_status, True)
    beside = take(store, NEW.partition("\t")[2] + line(1))
    assert (beside.status, "1 events of conntrack tell no time" in beside.out) == (0, True)
    assert take(store, NEW + line(1), "--format", "json").json["events_without_time"] == 0


def test_a_file_for_unreadable_lines_that_cannot_be_written(store: Path) -> None:
    """It is named, with what to do."""
    said = take(store, line(1) + line(2)[:80] + "\n", "--rejects", "/dev/full")
    assert (said.status, "cannot write /dev/full: No space left" in said.err) == (StoreError.exit_status, True)
    assert "--rejects" in said.err


def test_wrong_usage(store: Path) -> None:
    """The report is a table or JSON; something is to be imported."""
    assert take(store, "", "--format", "csv").status == 2
    assert Answer("import", "--store", store).status == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_files_are_the_owners() -> None:
    """Whoever runs it, what it writes belongs to the store's owner, who removes it one day."""
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="anetcon-test-") as name:  # where others may go, unlike tmp_path
        Path(name).chmod(0o755)
        store = Path(name, "store")
        store.mkdir()
        os.chown(store, nobody.pw_uid, nobody.pw_gid)
        assert take(store, line(1) + line(2)[:80] + "\n").status == 0
        assert {path.stat().st_uid for path in store.rglob("*")} == {nobody.pw_uid}
        assert {path.stat().st_mode & 0o777 for path in store.rglob("*.parquet")} == {0o640}
    assert os.geteuid() == 0


def test_a_closed_standard_input(store: Path) -> None:
    """It is an empty file, and no file of the store takes its place."""
    program = [sys.executable, "-m", "anetcon.cli.main", "import", "-", "--store", str(store)]
    taken = ["sh", "-c", 'exec "$@" <&-', "sh", *program]
    done = subprocess.run(taken, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
