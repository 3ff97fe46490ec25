"""The keys of a node: whatever happens to the process, one epoch is there, and no earlier one stays."""

from __future__ import annotations

import contextlib
import shutil
import stat
from pathlib import Path

import pytest

from anetcon.errors import InputError, KeyringError
from anetcon.proof import keyring
from anetcon.proof.checkpoints import Checkpoints
from anetcon.proof.keyring import Keyring, root_of
from anetcon.proof.note import Checkpoint, Note, SigningKey
from anetcon.store.layout import sign_folder
from tests.support.crashing import CrashError, crash_at


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    """Five epochs."""
    made = Keyring(tmp_path / "store-sign")
    made.init("gw 1", count=5)
    return made


def names(folder: Path) -> list[str]:
    """The secrets of epochs that are there."""
    return sorted(path.name for path in folder.glob("epoch-*"))


def sign(keys: Keyring) -> list[SigningKey]:
    """The keys of a checkpoint, which is kept."""
    found = keys.signing_keys()
    text = Checkpoint("a", 1, bytes(32), "", "", "", "").text
    Checkpoints(keys.folder).append(Note.signed(text, found), keys.epoch())
    return found


def over(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every epoch has lasted long enough."""
    monkeypatch.setattr(keyring, "EPOCH_SECONDS", 0)


def test_keys_of_a_node(keys: Keyring) -> None:
    """They lie beside the store; what is secret is for the owner alone, and of the root nothing stays."""
    assert sign_folder(Path("/var/lib/anetcon")) == Path("/var/lib/anetcon-sign")
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in keys.folder.iterdir() if p.is_file()}
    assert modes == {"keys.lock": 0o600, "node.key": 0o600, "epoch-00000001.json": 0o600, "root.pub": 0o640}
    trusted = keys.trusted()
    assert trusted.made_here
    assert trusted.origin.startswith("anetcon/gw%201/")
    assert (keys.epoch(), keys.left()) == (1, 4)
    assert keys.trusted(trusted.root).origin == trusted.origin
    with pytest.raises(KeyringError, match="has keys already"):
        keys.init("gw1")


def test_an_epoch_ends_when_it_has_signed(keys: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before it has lasted long enough and signed something; a reboot ends it. The one before is gone then."""
    first = sign(keys)
    assert [key.public for key in sign(keys)] == [key.public for key in first]
    over(monkeypatch)
    assert names(keys.folder) == ["epoch-00000001.json"]
    second = keys.signing_keys()
    assert keys.signing_keys()[1].public == second[1].public, "an epoch in which nothing was signed goes on"
    assert names(keys.folder) == ["epoch-00000002.json"]
    assert [key.name for key in second] == [first[0].name, f"{first[0].name}/epoch/2"]
    assert keys.trusted().epoch_of(Note.signed("a\n", second)) == 2
    monkeypatch.setattr(keyring, "EPOCH_SECONDS", 10**9)
    sign(keys)
    monkeypatch.setattr(keyring, "boot_id", lambda: "another")
    sign(keys)
    assert keys.epoch() == 3


def test_a_crash_before_the_first_checkpoint(keys: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves a file without a line: the epoch has signed nothing yet, and goes on."""
    over(monkeypatch)
    sign(keys)
    sign(keys)
    (keys.folder / "checkpoints" / "00000002.jsonl").write_bytes(b"")
    assert keys.signing_keys()[1].name.endswith("/epoch/2")


def test_keys_used_up(keys: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last epoch the key that stays signs alone, until more are certified; the number goes on."""
    over(monkeypatch)
    for _ in range(9):
        sign(keys)
    assert (keys.epoch(), keys.left()) == (5, 0)
    assert len(sign(keys)) == 1
    trusted = keys.renew(count=2)
    assert (keys.epoch(), keys.left(), names(keys.folder)) == (6, 1, ["epoch-00000006.json"])
    assert len(trusted.certificates) == 2
    assert trusted.epoch_of(Note.signed("a\n", keys.signing_keys())) == 6


def test_a_root_that_stays_elsewhere(tmp_path: Path) -> None:
    """It is made where it is not there, for the owner alone; it certifies again, and who trusts it trusts all of it."""
    place = tmp_path / "stick" / "root.pem"
    place.parent.mkdir()
    keys = Keyring(tmp_path / "store-sign")
    trusted = keys.init("gw1", root_of(place), count=2)
    assert not trusted.made_here
    assert Keyring(tmp_path / "here-sign").init("gw1", root_of(place), 2, made="here").made_here
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    keys.renew(root_of(place), count=2)
    assert [len(each.keys) for each in keys.trusted(root_of(place).public).certificates] == [2, 2]
    with pytest.raises(KeyringError, match="is signed by"):
        keys.trusted(keyring.new_root().public)
    place.write_text("no key")
    with pytest.raises(InputError, match="is no root key"):
        root_of(place)
    with pytest.raises(InputError, match="cannot write"):
        root_of(tmp_path / "nowhere" / "root.pem")


def test_no_keys(tmp_path: Path, keys: Keyring) -> None:
    """What is missing, or is no key, is said."""
    with pytest.raises(KeyringError, match="anetcon keys init"):
        Keyring(tmp_path).trusted()
    (keys.folder / "epoch-00000001.json").write_text("{}")
    with pytest.raises(KeyringError, match="is no key of an epoch"):
        keys.signing_keys()
    (keys.folder / "certificates" / "0001.keys").write_bytes(bytes(32))
    with pytest.raises(KeyringError, match="not those that were certified"):
        keys.trusted()


@pytest.mark.parametrize("torn", [False, True])
def test_a_crash_at_every_step_of_an_epoch(keys: Keyring, monkeypatch: pytest.MonkeyPatch, torn: bool) -> None:
    """One of the two epochs is there and can sign; the next attempt leaves only the new one."""
    sign(keys)
    over(monkeypatch)
    spare = shutil.copytree(keys.folder, keys.folder.with_name("spare"))
    with crash_at(0, torn) as steps:
        keys.signing_keys()
    assert keys.epoch() == 2
    assert steps() > 5
    for number in range(1, steps() + 1):
        copy = Keyring(Path(shutil.copytree(spare, spare.with_name(f"copy-{number}"))))
        with crash_at(number, torn), contextlib.suppress(CrashError):
            copy.signing_keys()
        left = names(copy.folder)
        assert any(name in left for name in ("epoch-00000001.json", "epoch-00000002.json")), left
        signed = copy.signing_keys()
        assert copy.trusted().epoch_of(Note.signed("a\n", signed)) == 2
        assert [name for name in names(copy.folder) if name.endswith(".json")] == ["epoch-00000002.json"]


def made_and_renewed(keys: Keyring) -> None:
    """Two epochs, and two more."""
    keys.init("gw1", count=2)
    keys.renew(count=2)


@pytest.mark.parametrize("torn", [False, True])
def test_a_crash_at_every_step_of_making_and_renewing(tmp_path: Path, torn: bool) -> None:
    """What was not made to its end is made again, from the start; epochs certified for nothing cost nothing."""
    with crash_at(0, torn) as steps:
        whole = Keyring(tmp_path / "whole")
        whole.init("gw1", count=2)
        making = steps()
        whole.renew(count=2)
    for number in range(1, steps() + 1):
        keys = Keyring(tmp_path / f"{number}")
        with crash_at(number, torn), contextlib.suppress(CrashError):
            made_and_renewed(keys)
        if not keys.exists():
            assert number <= making
            keys.init("gw1", count=2)
        keys.renew(count=2)
        assert keys.trusted().epoch_of(Note.signed("a\n", keys.signing_keys())) == keys.epoch()
        assert len(names(keys.folder)) == 1


def test_evidence_is_not_made_anew(keys: Keyring) -> None:
    """Where only the secret of the epoch is missing, nothing is touched: what was signed stays provable."""
    sign(keys)
    (keys.folder / "epoch-00000001.json").unlink()
    before = {path: path.read_bytes() for path in keys.folder.rglob("*") if path.is_file()}
    with pytest.raises(KeyringError, match="has checkpoints and no secret of an epoch"):
        keys.init("gw 1", count=5)
    assert {path: path.read_bytes() for path in keys.folder.rglob("*") if path.is_file()} == before


def test_what_is_replaced_is_overwritten(keys: Keyring) -> None:
    """By a renewal before anything was signed, and where a crash left the next secret under another name."""
    path = keys.folder / "epoch-00000001.json"
    left = path.with_name("epoch-00000001.json.new")
    left.write_bytes(b"secret")
    with path.open("rb") as replaced, left.open("rb") as beside:
        keys.renew(count=5)
        assert set(replaced.read()) == {0}
        assert set(beside.read()) == {0}
    assert names(keys.folder) == [path.name]


def test_what_is_erased_is_overwritten(keys: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever still has the file of an epoch open, as an undeleter has, reads zeros."""
    sign(keys)
    over(monkeypatch)
    path = keys.folder / "epoch-00000001.json"
    with path.open("rb") as file:
        keys.signing_keys()
        assert set(file.read()) == {0}
    assert not path.exists()
