"""What is sealed is signed once it is as the manifest says, and nothing that does not go on from what was signed."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from anetcon.errors import KeyringError
from anetcon.proof import leaves
from anetcon.proof.checkpoints import Checkpoints
from anetcon.proof.keyring import Keyring, boot_id
from anetcon.proof.signing import REFUSALS, Signer
from anetcon.proof.told import LastWord, told
from anetcon.store import layout, manifest
from anetcon.store.layout import sign_folder
from anetcon.store.limits import Limits
from anetcon.store.seal import Sealer
from tests.support.crashing import CrashError, crash_at
from tests.support.records import DAY, T0, Making, whole
from tests.support.stores import rechained, sealed


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Sealed, and with keys, but not signed."""
    made = sealed(tmp_path / "store")
    Keyring(sign_folder(made)).init("gw1", count=20)
    return made


def signer(store: Path) -> Signer:
    """A process that signs, just started."""
    return Signer(store, sign_folder(store))


def more(store: Path) -> None:
    """One more seal."""
    Making(store).add(*whole(src_port=77)).close()
    assert Sealer(store, node="gw1").seal()


def said(store: Path) -> LastWord:
    """What it says of itself."""
    found = told(sign_folder(store))
    assert found is not None
    return found


def first(store: Path) -> Path:
    """A file that counts."""
    return store / manifest.replay(store).of("connections")[0].file


def test_each_commit_is_signed(store: Path) -> None:
    """By both keys, with what the daemon says it has counted; what is signed is not signed again."""
    status = {"namespaces": [{"events": 5, "drops": 1}, {"events": 6, "undecodable": None}]}
    layout.status_path(store).write_text(json.dumps(status))
    signing = signer(store)
    made = signing.step()
    assert made is not None
    assert (made.size, made.root) == leaves.read(store, [])[:2]
    assert (made.boot, made.counters) == (boot_id(), "events=11 drops=1 undecodable=0")
    assert made.gaps == leaves.read(store, []).gaps
    assert signing.step() is None
    more(store)
    signing.live()
    assert said(store).size == made.size
    again = signer(store).step()
    assert again is not None
    assert again.size > made.size
    kept = list(Checkpoints(sign_folder(store)))
    assert [each.checkpoint for each in kept] == [made, again]
    trusted = Keyring(sign_folder(store)).trusted()
    assert all(trusted.epoch_of(each.note) == 1 and trusted.is_by_node(each.note) for each in kept)
    assert (said(store).size, said(store).epoch, said(store).refused) == (again.size, 1, "")


def changed(store: Path) -> str:
    """A byte of a new file."""
    path = first(store)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    return "is not what line"


def missing(store: Path) -> str:
    """A new file."""
    first(store).unlink()
    return "is missing"


def elsewhere(store: Path) -> str:
    """A file of the manifest that lies outside the store."""
    rechained(store, file=(manifest.replay(store).of("connections")[0].file, "../../etc/passwd"))
    return "which is no file of a store"


def broken(store: Path) -> str:
    """The chain."""
    path = layout.manifest_path(store)
    path.write_bytes(path.read_bytes().replace(b'"rows":', b'"rows": ', 1))
    return "was changed, or the one before it"


@pytest.mark.parametrize("tamper", [changed, missing, elsewhere, broken])
def test_what_is_new_is_not_signed_as_long_as_it_does_not_fit(store: Path, tamper: Callable[[Path], str]) -> None:
    """It is told once, and noted; when it fits again, it is signed."""
    whole_store = shutil.copytree(store, store.with_name("whole"))
    why = tamper(store)
    signing = signer(store)
    assert signing.step() is None
    assert signing.step() is None
    assert why in said(store).refused
    assert list(Checkpoints(sign_folder(store))) == []
    noted = (sign_folder(store) / REFUSALS).read_text().splitlines()
    assert [why in json.loads(line)["why"] for line in noted] == [True]
    shutil.rmtree(store)
    whole_store.rename(store)
    assert signing.step() is not None
    assert said(store).refused == ""


def test_the_past_is_not_rewritten_unseen(store: Path) -> None:
    """Whoever can write the whole store, and writes another chain that fits, is told; so is who rolls it back."""
    signing = signer(store)
    before = shutil.copytree(store, store.with_name("before"))
    more(store)
    made = signing.step()
    assert made is not None
    gone = first(store)
    lines = leaves.read(store, []).size
    rechained(store, gone=str(gone.relative_to(store)))
    gone.unlink()
    assert leaves.read(store, []).size < lines
    assert signing.step() is None
    assert "rolled back" in said(store).refused
    while leaves.read(store, []).size < made.size:
        more(store)
    assert signing.step() is None
    assert f"its first {made.size} lines are not those that are signed" in said(store).refused
    shutil.rmtree(store)
    before.rename(store)
    assert signer(store).step() is None
    assert "it was rolled back" in said(store).refused


def test_files_that_a_later_commit_removed(store: Path) -> None:
    """What retention has taken away before it was looked at is not missing."""
    Making(store).add(*whole(start=T0 + 29 * DAY, src_port=78)).close()
    sealer = Sealer(store, clock=lambda: T0 + 30 * DAY, limits=Limits(age=DAY), node="gw1")
    assert sealer.seal()
    assert sealer.retain() is not None
    assert "retention" in layout.manifest_path(store).read_text()
    assert signer(store).step() is not None


@pytest.mark.parametrize("name", ["format2", "format2-days/store"])
def test_a_store_of_an_older_version(tmp_path: Path, name: str) -> None:
    """Its commits do not name all that they remove: what does not count any more is not missing."""
    store = Path(shutil.copytree(Path(__file__).parents[2] / "data" / name, tmp_path / "store"))
    Keyring(sign_folder(store)).init("gw1", count=5)
    assert signer(store).step() is not None
    first(store).unlink()
    shutil.rmtree(sign_folder(store))
    Keyring(sign_folder(store)).init("gw1", count=5)
    assert signer(store).step() is None
    assert "is missing" in said(store).refused


@pytest.mark.parametrize("status", ['{"namespaces":[{"events":1e999}]}', '{"namespaces":' + "[" * 100_000])
def test_counters_that_nobody_can_read(store: Path, status: str) -> None:
    """Whatever the daemon's user writes into its status, the store is signed, without counters."""
    layout.status_path(store).write_text(status)
    made = signer(store).step()
    assert made is not None
    assert made.counters == ""


def test_without_keys(tmp_path: Path) -> None:
    """Nothing is signed, and it is said how keys are made."""
    store = sealed(tmp_path / "store")
    sign_folder(store).mkdir()
    with pytest.raises(KeyringError, match="anetcon keys init"):
        signer(store).step()
    assert told(tmp_path) is None


@pytest.mark.parametrize("torn", [False, True])
def test_a_crash_at_every_step(store: Path, torn: bool) -> None:
    """Whatever is on the disk then, the next process goes on, and the store is signed."""
    folder, count, number = sign_folder(store), 1, 0
    spare = shutil.copytree(folder, folder.with_name("spare"))
    while number < count:
        shutil.rmtree(folder)
        shutil.copytree(spare, folder)
        with crash_at(number, torn) as steps, contextlib.suppress(CrashError):  # a line of the log ends nothing
            signer(store).step()
        count = count if number else steps() + 1
        number += 1
        signer(store).step()
        sizes = [each.checkpoint.size for each in Checkpoints(folder)]
        assert sizes[-1:] == [leaves.read(store, []).size]
        assert said(store).refused == ""
