"""Checking a signed store as a command: what proves it, and to whom."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from anetcon.proof import anchors, keyring, leaves
from anetcon.proof.keyring import Keyring
from anetcon.proof.signing import Signer
from anetcon.store.layout import sign_folder
from anetcon.store.seal import Sealer
from tests.support.asking import Answer
from tests.support.records import Making, whole
from tests.support.stores import sealed


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of which all is sealed and signed."""
    made = sealed(tmp_path / "store")
    Keyring(sign_folder(made)).init("gw1", count=3)
    grow(made, 501)
    return made


def grow(store: Path, port: int) -> None:
    """One more seal, which is signed."""
    Making(store).add(*whole(src_port=port)).close()
    assert Sealer(store, node="gw1").seal()
    assert Signer(store, sign_folder(store)).step() is not None


def note(store: Path, to: Path) -> None:
    """Note its last line elsewhere."""
    log, origin = leaves.read(store, []), Keyring(sign_folder(store)).trusted().origin
    to.write_text(f"{anchors.line(origin, log.size, log.root, 1)}\n")


def test_anchored_lines_are_proven_as_far_as_they_are_signed(store: Path, tmp_path: Path) -> None:
    """Lines that were noted and that no signature covers prove nothing; without keys that is wrong."""
    words = ("verify", "--store", store, "--anchors", tmp_path / "noted")
    note(store, tmp_path / "noted")
    assert Answer(*words).status == 0
    shutil.copytree(sign_folder(store), tmp_path / "kept")
    grow(store, 502)
    note(store, tmp_path / "noted")
    assert Answer(*words).status == 0
    shutil.rmtree(sign_folder(store))
    shutil.copytree(tmp_path / "kept", sign_folder(store))
    assert Answer(*words).status == 3
    shutil.rmtree(sign_folder(store))
    assert Answer(*words).status == 1


def test_a_file_of_several_keys(store: Path, tmp_path: Path) -> None:
    """Each certifies epochs; whose keys they are is said."""
    keys, later, file = Keyring(sign_folder(store)), keyring.new_root(), tmp_path / "root.pub"
    first = keys.root()
    keys.renew(later, 5)
    grow(store, 502)
    words = ("verify", "--store", store, "--key", file)
    file.write_text(f"{later.public}\n")
    one = Answer(*words)
    assert "epochs 1 to 1 are not certified by this root" in one.out + one.err
    assert f"the keys are of {keys.trusted().origin}" in one.out + one.err
    file.write_text(f"{first}\n{later.public}\n")
    both = json.loads(Answer(*words, "-f", "json").out)
    assert both["notes"] == []
    assert (both["signed"]["origin"], both["signed"]["root"]) == (keys.trusted().origin, str(later.public))
    file.write_text("\n")
    assert Answer(*words).status == 12
