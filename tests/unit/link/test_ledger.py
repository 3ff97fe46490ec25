"""What of ours is on a host is known after a crash, and forgotten when it is gone for certain."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.errors import StoreError
from anetcon.link import ledger
from anetcon.link.ledger import Entry, Ledger, LogRules, LogSwitch, OwnTable, Sysctls

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
FOUND = {"nf_conntrack_events": "0", "nf_conntrack_acct": "1"}
A = LogRules("r", 7, "/run/netns/r", "iptables-log", "anetcon")
B = A._replace(engine="nftables-log")
EACH: list[Entry] = [Sysctls("r", 7, FOUND), A, OwnTable("r", 7, "ip anetcon_packets"), LogSwitch("0")]


def everything(opened: Ledger) -> list[Entry]:
    """All that it has."""
    kinds: tuple[Any, ...] = (Sysctls, LogRules, OwnTable, LogSwitch)
    return [entry for kind in kinds for entry in opened.of(kind)]


def test_what_was_noted_is_known_to_the_next_until_it_is_struck(tmp_path: Path) -> None:
    """Each kind by itself; of rules those of every engine."""
    first = Ledger(tmp_path)
    for entry in (*EACH, B):
        first.note(entry)
    second = Ledger(tmp_path)
    assert everything(second) == [EACH[0], A, B, *EACH[2:]]
    second.strike(A, EACH[2])
    assert everything(Ledger(tmp_path)) == [EACH[0], B, EACH[3]]
    assert Ledger(tmp_path).at(LogRules, 7) == [B]
    assert Ledger(tmp_path).at(LogRules, 8) == []


def test_of_sysctls_and_switch_the_first_counts(tmp_path: Path) -> None:
    """What was found later is what we had set; rules are entered where the namespace was last."""
    opened = Ledger(tmp_path)
    for entry in (EACH[0], Sysctls("r", 7, {}), LogSwitch("0"), LogSwitch("1"), A, A._replace(path="/there")):
        opened.note(entry)
    assert everything(Ledger(tmp_path)) == everything(opened) == [EACH[0], A._replace(path="/there"), LogSwitch("0")]


def test_what_is_known_is_not_written_again(tmp_path: Path) -> None:
    """Every look at the rules notes them."""
    opened = Ledger(tmp_path)
    for _ in range(3):
        opened.note(A)
        opened.strike(B)
    assert opened.path.read_text().count("\n") == 1


def test_lines_of_another_boot_and_torn_ones_are_passed_over(tmp_path: Path) -> None:
    """Inodes mean nothing after a boot; the next line is not added to one that is torn."""
    opened = Ledger(tmp_path)
    opened.note(A)
    line = opened.path.read_text()
    other = line.replace(BOOT, "another").replace('"inode": 7', '"inode": 9')
    opened.path.write_text(other + line + line[:-9])
    again = Ledger(tmp_path)
    assert everything(again) == [A]
    again.note(B)
    assert everything(Ledger(tmp_path)) == [A, B]
    assert "another" not in opened.path.read_text()
    assert opened.path.read_text().count("\n") == 2


def test_the_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where namespaces come and go it is written anew now and then, without the sysctls of those that are gone."""
    monkeypatch.setattr(ledger, "MOST_LINES", 20)
    opened = Ledger(tmp_path)
    for inode in range(100):
        opened.note(A._replace(inode=inode))
        opened.strike(A._replace(inode=inode))
        opened.note(Sysctls("r", inode, FOUND))
        opened.prune({("r", 7)})
    assert opened.path.read_text().count("\n") < 100
    assert ("r", 7) in {(saved.netns, saved.inode) for saved in Ledger(tmp_path).of(Sysctls)}
    assert len(Ledger(tmp_path).of(Sysctls)) < 30


def test_a_line_costs_the_same_however_many_there_are(tmp_path: Path) -> None:
    """A thousand namespaces are noted at a start: no line walks through those before it."""
    opened = Ledger(tmp_path)
    walked = 0

    class Walked(dict[Any, Any]):
        """Counts who walks through it."""

        def values(self) -> Any:
            nonlocal walked
            walked += 1
            return super().values()

    opened._entries = {kind: Walked() for kind in opened._entries}
    for inode in range(500):
        opened.note(A._replace(inode=inode))
    opened.strike(A)
    assert (walked, opened._number) == (0, 499)


def test_a_disk_that_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever notes hears of it, and it is known here; the next line that is taken brings what is missing."""
    opened = Ledger(tmp_path)
    opened.note(A)
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[:30])

    monkeypatch.setattr(os, "write", half)
    for entry in EACH:
        if entry is not A:
            with pytest.raises(OSError, match="No space"):
                opened.note(entry)
    monkeypatch.undo()
    assert everything(Ledger(tmp_path)) == [A]
    opened.note(B)
    assert everything(Ledger(tmp_path)) == everything(opened) == [EACH[0], A, B, *EACH[2:]]


BEFORE: dict[str, Any] = {
    "sysctls.jsonl": [{"netns": "r", "inode": 7, "boot_id": BOOT, "found": FOUND}],
    "rules.jsonl": [
        {"netns": "r", "path": "/there", "inode": 7, "boot_id": BOOT, "rules": [["nftables-log", "other"]]},
        {"netns": "s", "path": None, "inode": 8, "boot_id": BOOT, "rules": [["iptables-log", "anetcon"]]},
        {"netns": "s", "path": None, "inode": 8, "boot_id": BOOT, "rules": []},
        {"netns": "r", "path": "/run/netns/r", "inode": 7, "boot_id": BOOT, "rules": [A[3:], B[3:]]},
        {"netns": "t", "path": None, "inode": 9, "boot_id": "another", "rules": [["iptables-log", "anetcon"]]},
    ],
    "activated.json": [[["r", 7]]],
    "sampled-ip.json": [[["r", 7], ["s\\t", 8]]],
    "sampled-ip6.json": [[]],
    "nf_log_all_netns.json": [{"boot_id": BOOT, "found": "0"}],
}
"""As version 0.12 wrote them."""


def test_the_files_of_versions_before_are_taken_over(tmp_path: Path) -> None:
    """Read as they are, and gone once the ledger has what they say; what it has already counts more."""
    for name, lines in BEFORE.items():
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"torn')
    for name in ("activated.json", "sampled-ip.json", "sampled-ip6.json", "nf_log_all_netns.json"):
        (tmp_path / name).write_text(json.dumps(BEFORE[name][0]))
    tables = [("r", "inet anetcon_conntrack"), ("r", "ip anetcon_packets"), ("s\\\\t", "ip anetcon_packets")]
    entries = [EACH[0], A, B, *(OwnTable(netns, 8 if "s" in netns else 7, table) for netns, table in tables), EACH[3]]
    assert set(map(str, everything(Ledger(tmp_path)))) == set(map(str, entries))
    opened = Ledger(tmp_path)
    opened.fold()
    assert [path.name for path in tmp_path.iterdir()] == [ledger.FILE]
    assert everything(Ledger(tmp_path)) == everything(opened)
    (tmp_path / "nf_log_all_netns.json").write_text(json.dumps({"boot_id": BOOT, "found": "1"}))
    assert Ledger(tmp_path).of(LogSwitch) == [LogSwitch("0")]


def test_the_files_of_versions_before_stay_until_the_disk_takes_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is forgotten on a full disk."""
    (tmp_path / "rules.jsonl").write_text(json.dumps(BEFORE["rules.jsonl"][0]) + "\n")
    opened = Ledger(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(os, "write", _full)
        with pytest.raises(OSError, match="No space"):
            opened.fold()
    assert len(Ledger(tmp_path).of(LogRules)) == 1
    opened.strike(*opened.of(LogRules))
    assert everything(Ledger(tmp_path)) == []


def test_a_link_in_its_place_is_one_sentence(tmp_path: Path) -> None:
    """Whoever cannot tell what of ours is here does not go on."""
    (tmp_path / "elsewhere").touch()
    (tmp_path / ledger.FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"cannot read .*ledger\.jsonl"):
        Ledger(tmp_path)


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
LINES = st.one_of(
    st.binary(max_size=30),
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["sysctls", "rules", "table", "switch", "other"]), "boot_id": st.just(BOOT)},
        optional=dict.fromkeys(
            ("netns", "inode", "path", "found", "engine", "chain", "table", "gone", "rules"), VALUES
        ),
    ).map(lambda said: json.dumps(said).encode()),
    VALUES.map(lambda value: json.dumps(value).encode()),
)


@given(st.sampled_from([ledger.FILE, *BEFORE]), st.lists(LINES, max_size=4))
def test_any_content_is_read(name: str, lines: list[bytes]) -> None:
    """Whatever is in a file, what is written next is there for the next."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(b"\n".join(lines))
        opened = Ledger(Path(folder))
        opened.note(B)
        assert everything(Ledger(Path(folder))) == everything(opened)


def test_a_place_is_the_same_only_with_its_inode(tmp_path: Path) -> None:
    """A name that came back as another namespace holds nothing of ours."""
    file = tmp_path / "r"
    file.touch()
    places = [(file.stat().st_ino, str(file)), (1, str(file)), (2, str(tmp_path / "none")), (3, None)]
    assert [A._replace(inode=inode, path=path).is_there(3) for inode, path in places] == [True, False, False, True]


def _full(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")
