"""Exporting evidence, and checking it, as commands."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from anetcon.proof.keyring import Keyring
from anetcon.proof.signing import Signer
from anetcon.store import manifest
from anetcon.store.entry import Why
from anetcon.store.layout import is_long, sign_folder
from tests.support.asking import Answer
from tests.support.records import DAY, T0
from tests.support.stores import sealed


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A signed store."""
    made = sealed(tmp_path / "store")
    Keyring(sign_folder(made)).init("gw1", count=3)
    assert Signer(made, sign_folder(made)).step() is not None
    return made


def test_from_one_machine_to_the_other(store: Path, tmp_path: Path) -> None:
    """With the key from elsewhere it is proven; with its own it is whole; changed it is wrong. It is made once."""
    out, key = tmp_path / "evidence.zip", tmp_path / "root.pub"
    words = ("export", "--store", store, "--out", out, "--reason", "case 7")
    made = Answer(*words)
    assert (made.status, made.err) == (0, "")
    assert made.out.startswith(f"{out}: ")
    again = Answer(*words)
    assert (again.status, len(again.err.splitlines())) == (12, 1)
    key.write_text(f"{Keyring(sign_folder(store)).root()}\n")
    proven = Answer("verify", out, "--key", key)
    assert proven.status == 0, proven.out + proven.err
    assert "by epoch 1 of anetcon/gw1/" in proven.out
    assert "whole: the files are those of the manifest" in proven.out
    own = Answer("verify", out, "--format", "json")
    assert (own.status, own.json["proven"], own.json["wrong"]) == (3, False, [])
    custody = own.json["custody"]
    assert (custody["reason"], custody["query"]["from"]) == ("case 7", None)
    assert {"exported", "user", "host", "program", "clock"} <= custody.keys()
    with zipfile.ZipFile(out, "a") as content:
        content.writestr("more", "x")
    wrong = Answer("verify", out, "--key", key)
    assert wrong.status == 1
    assert "wrong: more does not belong to it" in wrong.out


def test_a_time_that_is_not_all_there(store: Path, tmp_path: Path) -> None:
    """What is said is how far it goes, and what retention removed; never that nothing was left out."""
    out, key = tmp_path / "evidence.zip", tmp_path / "root.pub"
    key.write_text(f"{Keyring(sign_folder(store)).root()}\n")
    assert Answer("export", "--store", store, "--out", out, "--until", "2100-01-01").status == 0
    late = Answer("verify", out, "--key", key)
    assert (late.status, "nothing is shown after" in late.out) == (3, True)
    assert "none of that time was left out" not in late.out
    state = manifest.replay(store)
    gone = [entry.file for entry in state.of("connections") if not is_long(entry.file)]
    manifest.commit(store, state, Why.RETENTION, T0 + DAY, (), gone, before=T0 + DAY)
    assert Signer(store, sign_folder(store)).step() is not None
    out.unlink()
    assert Answer("export", "--store", store, "--out", out).status == 0
    cut = Answer("verify", out, "--key", key)
    assert (cut.status, "retention had removed records of before 2026-11-21" in cut.out) == (3, True)
    said = Answer("verify", out, "--key", key, "--format", "json").json
    assert (said["proven"], said["removed_before"][:10]) == (False, "2026-11-21")


def test_what_is_no_bundle_and_no_key(store: Path, tmp_path: Path) -> None:
    """Is said in a sentence; nothing is left of an export that failed."""
    (tmp_path / "no").write_text("no")
    for words in (("verify", tmp_path / "no"), ("verify", "--store", store, "--key", tmp_path / "no")):
        answer = Answer(*words)
        assert (answer.status, len(answer.err.splitlines())) == (12, 1)
    file = next(store.glob("node=*/date=*/*.parquet"))
    file.write_bytes(b"")
    out = tmp_path / "evidence.zip"
    assert Answer("export", "--store", store, "--out", out).status == 8
    assert not out.exists()


@pytest.mark.parametrize("option", ["--known", "--anchors", "--resume", "--since", "--until"])
def test_options_that_are_for_a_store(tmp_path: Path, option: str) -> None:
    """With a bundle they are wrong usage: nothing would compare it with them."""
    value = "0" * 64 if option == "--known" else "2026-11-20"
    answer = Answer("verify", tmp_path / "evidence.zip", option, value)
    assert (answer.status, "it is for a store" in answer.err) == (2, True)
    assert option in answer.err


def test_a_signed_store(store: Path, tmp_path: Path) -> None:
    """verify says by day what signed it, and that nothing anchors it; with a key that is another's it is wrong."""
    answer = Answer("verify", "--store", store)
    assert answer.status == 3
    assert "signed by  at (UTC)" in answer.out
    assert "signed, not anchored" in answer.out
    assert "the root key was made on this node" in answer.out
    said = json.loads(Answer("verify", "--store", store, "--format", "json").out)
    assert said["signed"]["lines"] == said["chain"]["lines"]
    assert {day["signed_by"] for day in said["days"]} == {"epoch 1"}
    other = Keyring(tmp_path / "other-sign")
    other.init("gw2", count=2)
    (tmp_path / "root.pub").write_text(str(other.root()))
    wrong = Answer("verify", "--store", store, "--key", tmp_path / "root.pub")
    assert wrong.status == 1
    assert "no certificate of the node's keys is signed by" in wrong.out
