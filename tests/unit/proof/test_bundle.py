"""An evidence bundle shows what the store had, to us and to a stranger, and whatever is done to it is found."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anetcon.errors import InputError, StoreError
from anetcon.proof import bundle
from anetcon.proof.keyring import Keyring, new_root
from anetcon.proof.note import PublicKey
from anetcon.proof.signing import Signer
from anetcon.store import manifest
from anetcon.store.entry import Why, microseconds
from anetcon.store.layout import is_long, sign_folder
from anetcon.store.retain import HOUR
from tests.support import stranger
from tests.support.records import DAY, T0, Making
from tests.support.stores import rechained, sealed

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed store."""
    made = sealed(tmp_path_factory.mktemp("made") / "store")
    Keyring(sign_folder(made)).init("gw1", count=7)
    assert Signer(made, sign_folder(made)).step() is not None
    return made


@pytest.fixture(scope="module")
def key(store: Path) -> PublicKey:
    """Its root key."""
    return Keyring(sign_folder(store)).root()


def exported(store: Path, to: Path, since: int | None = None, until: int | None = None) -> Path:
    """A bundle."""
    with to.open("wb") as file:
        bundle.export(store, (since, until), file, {"user": "me"})
    return to


@pytest.fixture(scope="module")
def made(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of everything."""
    return exported(store, tmp_path_factory.mktemp("bundle") / "evidence.zip")


def by_stranger(path: Path, key: PublicKey) -> subprocess.CompletedProcess[str]:
    """What somebody says who has none of our code: isolated, and in no folder of ours."""
    words = [sys.executable, "-I", stranger.__file__, str(path), str(key)]
    return subprocess.run(words, check=False, capture_output=True, text=True, cwd="/")


def test_everything(store: Path, made: Path, key: PublicKey) -> None:
    """Every file that counts, and who exported it; a stranger's script comes to the same."""
    shown = bundle.verify(made, key)
    assert (shown.wrong, shown.epoch, shown.custody["user"]) == ([], 1, "me")
    assert shown.files == len(manifest.replay(store).files())
    assert shown.checkpoint is not None
    assert bundle.verify(made, None).wrong == []
    done = by_stranger(made, key)
    assert done.stdout == f"{shown.files} files, epoch 1, time {shown.checkpoint.time}\n", done.stderr
    assert "anetcon" not in Path(stranger.__file__).read_text().replace("ANetCon", "").lower()
    with zipfile.ZipFile(made) as content:
        assert "It is the word of whoever exported" in content.read("README.txt").decode()


def test_some_time(store: Path, tmp_path: Path, key: PublicKey) -> None:
    """Only the files that may have something of it, among them the gaps; the manifest is there as a whole."""
    path = exported(store, tmp_path / "some.zip", T0 + DAY)
    shown = bundle.verify(path, key)
    assert shown.wrong == []
    with zipfile.ZipFile(path) as content:
        kinds = {name.partition("/")[0].partition("=")[0] for name in content.namelist() if name.endswith(".parquet")}
    assert kinds == {"open", "gaps", "addresses"}
    assert by_stranger(path, key).returncode == 0


def test_a_time_that_is_not_sealed(store: Path, tmp_path: Path, key: PublicKey) -> None:
    """It shows nothing after the last connection that was sealed; what custody.json says does not change that."""
    whole = bundle.verify(exported(store, tmp_path / "all.zip"), key)
    ends = [microseconds(entry.end) for entry in manifest.replay(store).of("connections") if entry.end]
    assert whole.checkpoint is not None
    assert whole.through == min(max(ends), microseconds(whole.checkpoint.time))
    for until, is_all in ((None, True), (whole.through, True), (whole.through + 1, False)):
        shown = bundle.verify(exported(store, tmp_path / f"{until}.zip", None, until), key)
        assert (shown.wrong, shown.is_all) == ([], is_all)


def test_a_store_without_connections(tmp_path: Path) -> None:
    """It is not known through which time it shows anything, so no time is shown as a whole."""
    path = exported(Making(tmp_path / "store").close(), tmp_path / "none.zip")
    assert (bundle.verify(path, None).through, bundle.verify(path, None).is_all) == (None, False)


def test_what_retention_removed(tmp_path: Path) -> None:
    """A time of which it removed something is not shown as a whole; one behind it is."""
    store = sealed(tmp_path / "store")
    state = manifest.replay(store)
    gone = [entry.file for entry in state.of("connections") if not is_long(entry.file)]
    manifest.commit(store, state, Why.RETENTION, T0 + DAY, (), gone, before=T0 + HOUR)
    for name, since, until in (("all", None, None), ("old", T0 - DAY, T0), ("new", T0 + HOUR, None)):
        shown = bundle.verify(exported(store, tmp_path / f"{name}.zip", since, until), None)
        assert (shown.wrong, shown.is_all, shown.removed is None) == ([], name == "new", name == "new")


def rewritten(path: Path, to: Path, change: Callable[[Members], object]) -> Path:
    """A copy of a bundle with other members."""
    with zipfile.ZipFile(path) as content:
        members = {name: content.read(name) for name in content.namelist()}
    change(members)
    with zipfile.ZipFile(to, "w") as new:
        for name, data in members.items():
            new.writestr(name, data)
    return to


def parquet(members: Members) -> str:
    """A file of connections."""
    return next(name for name in members if name.startswith("node="))


def flip(members: Members, name: str, at: int = 20) -> None:
    """Change one bit."""
    content = bytearray(members[name])
    content[at] ^= 1
    members[name] = bytes(content)


def narrowed(members: Members) -> None:
    """Another time is claimed than the files are of."""
    custody = json.loads(members["custody.json"])
    members["custody.json"] = json.dumps(custody | {"since_us": T0 + 5 * DAY}).encode()


CHANGES: dict[str, tuple[Callable[[Members], object], str]] = {
    "a byte of a file": (lambda m: flip(m, parquet(m)), "is not what the manifest says"),
    "a file left out": (lambda m: m.pop(parquet(m)), "is not there, though the manifest has it"),
    "a file added": (lambda m: m.update({"node=x/date=2026-11-20/00000001.parquet": b""}), "does not belong to it"),
    "a file added among certificates of another folder": (
        lambda m: m.update({"node=x/date=2026-11-20/certificates/00000001.parquet": b""}),
        "does not belong to it",
    ),
    "a file added outside": (lambda m: m.update({"../../certificates/x": b""}), "does not belong to it"),
    "a file added to the certificates": (lambda m: m.update({"certificates/x.keys": b""}), "does not belong to it"),
    "another time claimed": (narrowed, "does not belong to it"),
    "a line of the manifest": (lambda m: flip(m, "manifest.jsonl", -3), "is not what the checkpoint was signed over"),
    "a carriage return in a line": (
        lambda m: m.update({"manifest.jsonl": m["manifest.jsonl"].replace(b',"kind"', b',\r"kind"')}),
        "is not what the checkpoint was signed over",
    ),
    "a line cut off": (
        lambda m: m.update({"manifest.jsonl": b"".join(m["manifest.jsonl"].splitlines(keepends=True)[:-1])}),
        "is not what the checkpoint was signed over",
    ),
    "the text of the checkpoint": (lambda m: flip(m, "checkpoint", 12), ""),
    "a key": (lambda m: flip(m, "certificates/0001.keys"), "not those that were certified"),
    "no checkpoint": (lambda m: m.pop("checkpoint"), "it has no checkpoint, though a key was given"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_done_to_it_is_found(made: Path, tmp_path: Path, key: PublicKey, change: str) -> None:
    """With the key from elsewhere: by us in a sentence, and by the stranger, but for a time that is claimed."""
    do, words = CHANGES[change]
    path = rewritten(made, tmp_path / "changed.zip", do)
    shown = bundle.verify(path, key)
    assert shown.wrong
    assert words in shown.wrong[0]
    if change != "another time claimed":
        assert by_stranger(path, key).returncode != 0


def test_another_key(made: Path, tmp_path: Path) -> None:
    """A bundle that somebody signed with keys of his own does not hold for who has the node's."""
    other = new_root().public
    assert "no certificate of the node's keys is signed by" in bundle.verify(made, other).wrong[0]
    assert by_stranger(made, other).returncode != 0
    assert bundle.verify(rewritten(made, tmp_path / "a.zip", lambda m: m.update(checkpoint=b"a")), other).wrong


def test_a_store_that_is_not_signed(tmp_path: Path, key: PublicKey) -> None:
    """It is exported, and says so."""
    path = exported(sealed(tmp_path / "store"), tmp_path / "plain.zip")
    shown = bundle.verify(path, None)
    assert (shown.wrong, shown.checkpoint) == ([], None)
    assert bundle.verify(path, key).wrong == [
        "it has no checkpoint, though a key was given: it was removed, or the store is not signed"
    ]
    with zipfile.ZipFile(path) as content:
        assert "THE STORE WAS NOT SIGNED" in content.read("README.txt").decode()


def test_a_store_that_was_changed(store: Path, tmp_path: Path) -> None:
    """Is no evidence: it is not exported."""
    copy = Path(shutil.copytree(store, tmp_path / "store"))
    shutil.copytree(sign_folder(store), sign_folder(copy))
    file = copy / manifest.replay(copy).of("connections")[0].file
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StoreError, match="is not what the manifest says"):
        bundle.export(copy, (None, None), io.BytesIO(), {})
    rechained(copy, gone=str(file.relative_to(copy)))
    with pytest.raises(StoreError, match="it was rolled back"):
        bundle.export(copy, (None, None), io.BytesIO(), {})


@pytest.mark.parametrize(
    "times",
    [
        {"since_us": 10**40},
        {"until_us": -(10**40)},
        {"since_us": 1.5},
        {"since_us": True},
        {"since_us": T0 + 1, "until_us": T0},
    ],
)
def test_a_time_that_is_none(made: Path, tmp_path: Path, times: dict[str, object]) -> None:
    """No export writes it, and it would be no sentence to say."""

    def changed(members: Members) -> None:
        members["custody.json"] = json.dumps(json.loads(members["custody.json"]) | times).encode()

    with pytest.raises(InputError, match="it says what no export says"):
        bundle.verify(rewritten(made, tmp_path / "times.zip", changed), None)


BOMBS: dict[str, tuple[Callable[[Members], object], str]] = {
    "a member": (lambda m: m.update({"custody.json": bytes(bundle.MOST + 1)}), "more than any export writes"),
    "lines": (lambda m: m.update({"manifest.jsonl": b"\n" * 1000}), "shorter lines than any export writes"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_is_too_much_to_unpack(made: Path, tmp_path: Path, bomb: str) -> None:
    """It is refused before memory is taken for it."""
    do, words = BOMBS[bomb]
    with pytest.raises(InputError, match=words):
        bundle.verify(rewritten(made, tmp_path / "bomb.zip", do), None)


def test_a_file_that_is_longer(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is wrong by its length, and not unpacked."""
    path = rewritten(made, tmp_path / "long.zip", lambda m: m.update({parquet(m): m[parquet(m)] + b"x"}))
    read, digest = list[str](), bundle._digest

    def seen(content: zipfile.ZipFile, name: str) -> str:
        read.append(name)
        return digest(content, name)

    monkeypatch.setattr(bundle, "_digest", seen)
    (wrong,) = bundle.verify(path, None).wrong
    assert wrong.endswith("is not what the manifest says")
    assert wrong.split(" ")[0] not in read


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 10_000))
def test_whatever_is_no_bundle(made: Path, tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int) -> None:
    """Is an InputError, or found to be wrong, and never a traceback."""
    path = tmp_path_factory.mktemp("junk") / "junk.zip"
    whole = made.read_bytes()
    for content in (junk, whole[:at], whole[: at % len(whole)] + junk + whole[at % len(whole) + len(junk) :]):
        path.write_bytes(content)
        try:
            bundle.verify(path, None)
        except InputError:
            continue
