"""The table of what is found: whoever does what to a store or its checkpoints, and what its keys prove then."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from anetcon.proof import keyring, leaves
from anetcon.proof.anchors import Anchor
from anetcon.proof.attested import Attested, attested
from anetcon.proof.certificate import after, epoch_key
from anetcon.proof.checkpoints import Checkpoints
from anetcon.proof.keyring import Keyring
from anetcon.proof.note import Note, PublicKey, SigningKey
from anetcon.proof.signing import Signer
from anetcon.store import layout, manifest
from anetcon.store.layout import sign_folder
from anetcon.store.seal import Sealer
from tests.support.records import Making, whole
from tests.support.stores import rechained, sealed


def grow(store: Path, port: int) -> None:
    """One more seal, which is signed."""
    Making(store).add(*whole(src_port=port)).close()
    assert Sealer(store, node="gw1").seal()
    assert Signer(store, sign_folder(store)).step() is not None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was signed in four epochs, and its keys, which no test changes."""
    store = sealed(tmp_path_factory.mktemp("made") / "store")
    Keyring(sign_folder(store)).init("gw1", count=50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keyring, "EPOCH_SECONDS", 0)
        Signer(store, sign_folder(store)).step()
        for port in range(3):
            grow(store, 500 + port)
    assert Checkpoints(sign_folder(store)).epochs() == [1, 2, 3, 4]
    return store


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A copy of both."""
    shutil.copytree(sign_folder(made), sign_folder(tmp_path / "store"))
    return Path(shutil.copytree(made, tmp_path / "store"))


@pytest.fixture
def key(made: Path) -> PublicKey:
    """The root key, as it was noted elsewhere."""
    return Keyring(sign_folder(made)).root()


def wrongs(found: Attested) -> set[str]:
    """The kinds of what is wrong."""
    return {flaw.wrong for flaw in found.flaws}


def file(store: Path, number: int) -> Path:
    """The checkpoints of an epoch."""
    return sign_folder(store) / "checkpoints" / f"{number:08d}.jsonl"


def test_a_whole_store(store: Path, key: PublicKey) -> None:
    """Every line is proven, the first ones by the first epoch; that nothing anchors it is said."""
    for given in (None, key):
        found = attested(store, given)
        assert (found.flaws, found.notes, found.own) == ([], [], given is None)
        assert [seal.epoch for seal in found.seals] == [1, 2, 3, 4]
        assert found.size == leaves.read(store, []).size
        assert found.integrity == "signed, not anchored; root made on this node"
    first, last = found.of(1), found.of(found.size)
    assert first is not None
    assert last is not None
    assert (first.epoch, last.epoch, found.of(found.size + 1), found.of(0)) == (1, 4, None, None)


def test_a_store_that_is_not_signed(tmp_path: Path, key: PublicKey) -> None:
    """Nothing is wrong, and nothing is proven; who has its key knows that it was signed once."""
    store = sealed(tmp_path / "store")
    assert attested(store).flaws == []
    assert attested(store).integrity == "chain only"
    assert wrongs(attested(store, key)) == {"unsigned"}
    Keyring(sign_folder(store)).init("gw1", count=2)
    assert attested(store).flaws == []
    assert "nothing was signed yet" in attested(store).notes[0]
    assert wrongs(attested(store, Keyring(sign_folder(store)).root())) == {"unsigned"}


def reforge(store: Path, number: int, size: int, forge: Callable[[Note], Note]) -> None:
    """Change the note of a size of an epoch."""
    kept = list(Checkpoints(sign_folder(store)).of(number))
    file(store, number).unlink()
    for each in kept:
        new = forge(each.note) if each.checkpoint.size == size else each.note
        Checkpoints(sign_folder(store)).append(new, number)


def rewritten(store: Path) -> set[str]:
    """The user who writes the store: another chain that fits, without its saved state."""
    rechained(store, rows=(manifest.replay(store).of("connections")[0].file, 1))
    return {"rewritten", "rolled-back"}


def shortened(store: Path) -> set[str]:
    """The same, and a commit is gone."""
    gone = manifest.replay(store).of("connections")[0].file
    rechained(store, gone=gone)
    return {"rewritten", "rolled-back"}


def rolled_back(store: Path) -> set[str]:
    """The manifest as it was two commits ago, without its checkpoints being so."""
    path = layout.manifest_path(store)
    size = next(iter(Checkpoints(sign_folder(store)).of(2))).checkpoint.size
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:size]))
    return {"rolled-back"}


def forged(store: Path) -> set[str]:
    """A signature by nobody's key, under the name of the epoch."""
    size = next(iter(Checkpoints(sign_folder(store)).of(2))).checkpoint.size
    wrong = bytes(64)
    reforge(
        store, 2, size, lambda note: note._replace(signatures=tuple(s._replace(content=wrong) for s in note.signatures))
    )
    return {"signature", "epochs"}


def unsigned(store: Path) -> set[str]:
    """A checkpoint that the key of the node has not signed."""
    size = next(iter(Checkpoints(sign_folder(store)).of(2))).checkpoint.size
    reforge(store, 2, size, lambda note: note._replace(signatures=note.signatures[1:]))
    return {"signature", "epochs"}


def moved(store: Path) -> set[str]:
    """Checkpoints under the number of another epoch."""
    file(store, 2).rename(file(store, 2).with_name("kept"))
    shutil.copy(file(store, 1), file(store, 2))
    return {"signature", "epochs"}


def emptied(store: Path) -> set[str]:
    """Root rewrites the past, empties what was signed in earlier epochs, and signs anew by the key that he has."""
    signed_anew(store)
    for number in (1, 2, 3):
        file(store, number).write_bytes(b"")
    return {"epochs"}


def by_the_node_alone(store: Path) -> set[str]:
    """The same, and earlier epochs have checkpoints by the key that stays."""
    text, signing = signed_anew(store)
    for number in (1, 2, 3):
        file(store, number).unlink()
        Checkpoints(sign_folder(store)).append(Note.signed(text, signing[:1]), number)
    return {"signature", "epochs"}


def signed_anew(store: Path) -> tuple[str, list[SigningKey]]:
    """Write another past and sign it in the epoch that is; what is signed, and the keys."""
    rewritten(store)
    now, kept = leaves.read(store, []), Checkpoints(sign_folder(store))
    last = kept.last()
    assert last is not None
    signing = Keyring(sign_folder(store)).signing_keys()
    text = last.checkpoint._replace(size=now.size, root=now.root).text
    file(store, 4).unlink()
    kept.append(Note.signed(text, signing), 4)
    return text, signing


def epoch_gone(store: Path) -> set[str]:
    """Root removes the checkpoints of an epoch, since he cannot write others."""
    file(store, 2).unlink()
    return {"epochs"}


def torn(store: Path) -> set[str]:
    """A byte of a note changed."""
    content = bytearray(file(store, 1).read_bytes())
    content[30] ^= 1
    file(store, 1).write_bytes(content)
    return {"signature", "epochs"}


def another_root(store: Path) -> set[str]:
    """Root makes other keys and signs a store of his own making with them."""
    shutil.rmtree(sign_folder(store))
    rewritten(store)
    Keyring(sign_folder(store)).init("gw1", count=5)
    layout.state_path(store).unlink(missing_ok=True)
    return {"signature"}


def all_removed(store: Path) -> set[str]:
    """Root removes keys and signatures."""
    shutil.rmtree(sign_folder(store))
    return {"unsigned"}


def keys_removed(store: Path) -> set[str]:
    """The public keys of the epochs."""
    (sign_folder(store) / "certificates" / "0001.keys").unlink()
    return {"signature"}


CHANGED = [rewritten, shortened, rolled_back, forged, unsigned, moved, torn]
REMOVED = [epoch_gone, emptied, by_the_node_alone, another_root, keys_removed, all_removed]
TAMPERED = [*CHANGED, *REMOVED]


@pytest.mark.parametrize("tamper", TAMPERED)
def test_what_is_found(store: Path, key: PublicKey, tamper: Callable[[Path], set[str]]) -> None:
    """Whoever has the root's key from elsewhere finds each, and nothing wrong is counted as proven."""
    expected = tamper(store)
    found = attested(store, key)
    assert wrongs(found) == expected, found.flaws
    assert len(found.seals) < 4


def test_root_later_cannot_sign_for_an_epoch_that_is_over(store: Path, key: PublicKey) -> None:
    """Whoever takes every secret that is there rewrites the past, and signs it by the epoch that is: the epochs before
    have no checkpoint then, or one that is wrong."""
    text, signing = signed_anew(store)
    kept = Checkpoints(sign_folder(store))
    assert signing[1].name.endswith("/4")
    for number in (1, 2, 3, 4):  # in place of each that is wrong now
        file(store, number).unlink()
        kept.append(Note.signed(text, signing), number)
    assert wrongs(attested(store, key)) == {"signature", "epochs"}
    for number in (1, 2, 3):
        file(store, number).unlink()
    assert wrongs(attested(store, key)) == {"epochs"}
    seed = after(bytes(32))
    invented = epoch_key(signing[0].name, 1, seed)
    kept.append(Note.signed(text, [signing[0], invented]), 1)
    found = attested(store, key)
    assert wrongs(found) == {"signature", "epochs"}, "the node's key alone proves no time"
    assert {seal.epoch for seal in found.seals} == {4}


def test_keys_that_were_used_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last epoch of a certificate the key that stays signs alone, and nothing is wrong, once renewed too."""
    store = sealed(tmp_path / "store")
    Keyring(sign_folder(store)).init("gw1", count=2)
    monkeypatch.setattr(keyring, "EPOCH_SECONDS", 0)
    for port in range(3):
        grow(store, 600 + port)
    Keyring(sign_folder(store)).renew(count=5)
    grow(store, 700)
    found = attested(store)
    assert found.flaws == []
    assert [seal.epoch for seal in found.seals] == [1, 2, None, 3]


def test_a_root_that_came_later(store: Path, key: PublicKey) -> None:
    """It has not certified the epochs before it: that is said, and they count only with the earlier key. The node
    names both, the newest first of all."""
    later = keyring.new_root()
    keys = Keyring(sign_folder(store))
    keys.renew(later, 5)
    grow(store, 800)
    found = attested(store, later.public)
    assert [seal.epoch for seal in found.seals] == [5]
    assert (found.flaws, len(found.notes)) == ([], 1)
    assert "epochs 1 to 4 are not certified by this root: give the earlier key too" in found.notes[0]
    assert keys.root() == later.public
    assert keys.trusted().root == later.public
    for given in (attested(store, later.public, (), [key]), attested(store), attested(store, key)):
        assert [seal.epoch for seal in given.seals] == [1, 2, 3, 4, 5]
        assert (given.flaws, given.notes) == ([], [])
    file(store, 2).unlink()
    assert wrongs(attested(store, later.public, (), [key])) == {"epochs"}


def test_keys_of_another_node(store: Path) -> None:
    """A root may be one for many nodes: that the keys are not of the node of the records is said."""
    shutil.rmtree(sign_folder(store))
    Keyring(sign_folder(store)).init("gw2", count=5)
    assert Signer(store, sign_folder(store)).step() is not None
    assert attested(store).notes == ["the keys are of node gw2, and the records of gw1"]


def test_anchors_and_no_keys(store: Path) -> None:
    """Nothing can be compared with what was noted: that is a finding, though no key was given."""
    shutil.rmtree(sign_folder(store))
    found = attested(store, None, [Anchor("anetcon/gw1/1", 5, bytes(32), "a")])
    assert wrongs(found) == {"unsigned"}
    assert "nothing could be compared with what was noted elsewhere" in found.flaws[0].says


def test_what_is_not_found(store: Path, key: PublicKey) -> None:
    """Root takes store and checkpoints back to a copy of both, or takes away the last ones: only who kept a checkpoint
    or a head elsewhere sees that. The same of what he did before it was signed."""
    rolled_back(store)
    for number in (3, 4):
        file(store, number).unlink()
    keys = Keyring(sign_folder(store))
    assert keys.epoch() == 4
    assert wrongs(attested(store, key)) == {"epochs"}, "unless he has the secret of that time, which is erased"
    (sign_folder(store) / "epoch-00000004.json").rename(sign_folder(store) / "epoch-00000002.json")
    assert attested(store, key).flaws == []


def test_what_was_noted_elsewhere(store: Path, key: PublicKey) -> None:
    """Shows both, whatever root does here: a store that was taken back, and another past; and proves what is whole."""
    now = leaves.read(store, [5])
    origin = Keyring(sign_folder(store)).trusted().origin
    last, first = Anchor(origin, now.size, now.root, "a"), Anchor(origin, 5, now.roots[5], "b")
    found = attested(store, key, [first, last])
    assert (found.flaws, found.anchored) == ([], now.size)
    assert found.integrity.startswith(f"anchored up to line {now.size}")
    assert attested(store, key, [first]).anchored == 5
    other = attested(store, key, [last._replace(origin="anetcon/gw2/1")])
    assert (other.flaws, other.anchored, len(other.notes)) == ([], 0, 1)
    assert wrongs(attested(store, key, [last._replace(root=bytes(32))])) == {"rewritten"}
    rolled_back(store)
    for number in (3, 4):
        file(store, number).unlink()
    (sign_folder(store) / "epoch-00000004.json").rename(sign_folder(store) / "epoch-00000002.json")
    assert attested(store, key).flaws == [], "as without it"
    assert wrongs(attested(store, key, [first, last])) == {"rolled-back"}


def test_a_clock_that_was_set_back(store: Path, key: PublicKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints go by lines and epochs: a time before that of the last one is no finding."""
    monkeypatch.setattr("anetcon.system.clock.now_us", lambda: 1_000_000)
    grow(store, 900)
    found = attested(store, key)
    assert found.flaws == []
    assert found.seals[-1].time.startswith("1970-01-01T00:00:01")


def test_a_refusal_is_told(store: Path) -> None:
    """What was not signed once stays known."""
    before = layout.manifest_path(store).read_bytes()
    rolled_back(store)
    assert Signer(store, sign_folder(store)).step() is None
    layout.manifest_path(store).write_bytes(before)
    found = attested(store)
    assert found.flaws == []
    assert "nothing was signed: " in found.notes[0]
    (sign_folder(store) / "refusals.jsonl").write_text("x")
    assert "cannot be read" in attested(store).notes[0]
