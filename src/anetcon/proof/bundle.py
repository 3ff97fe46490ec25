"""An evidence bundle: a zip file that shows to a stranger, on another machine, what was recorded of some time.

    README.txt              what it shows and what not, in plain words
    custody.json            who exported it, when, by which version, with which clock; nobody signed that
    checkpoint              the signed note over the manifest; missing where the store is not signed
    root.pub, certificates/ whose keys signed it
    manifest.jsonl          every line of the manifest up to the checkpoint: which files there were, and their digests
    node=.../, gaps/, ...   the files, as they are in the store, that may have something of that time

The whole manifest is in it, so that no file can have been left out: which ones belong to a time follows from its lines.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from anetcon.errors import InputError, KeyringError, StoreError
from anetcon.proof import certificate, leaves
from anetcon.proof.attested import Seal, attested
from anetcon.proof.certificate import Trusted
from anetcon.proof.keyring import Keyring
from anetcon.proof.merkle import Range
from anetcon.proof.note import Checkpoint, Note, NoteError, PublicKey
from anetcon.store import layout, manifest
from anetcon.store.entry import Entry, Removed, microseconds
from anetcon.store.state import State

BLOCK = 1 << 20
README, CUSTODY, CHECKPOINT, ROOT = "README.txt", "custody.json", "checkpoint", "root.pub"
MANIFEST = layout.manifest_path(Path()).name
CERTIFICATES = "certificates/"
MOST, MOST_LINES = 16 << 20, 1 << 30
"""Bytes of a member that is read as a whole: of any, and of the manifest. A small zip file may unpack to anything."""

LEAST_LINE = 64
"""Bytes of a line of the manifest: each has the digest of the one before."""

EARLIEST, LATEST = microseconds("0001-01-01T00:00:00Z"), microseconds("9999-12-31T23:59:59Z")
_CERTIFICATE = re.compile(rf"{CERTIFICATES}[0-9]+\.note")

SHOWS = """\
Evidence bundle of ANetCon.

What it shows, to whoever has the public root key of the node from elsewhere (anetcon verify FILE --key KEY):
- The files below were in the store, byte by byte, when the checkpoint was signed.
- No file that the manifest then had of the time asked for was left out.
- Gaps are included: when something could not be recorded, the files in gaps/ say so.

What it does not show:
- That the records were true when they were written. Whoever was root on the node then could write others.
- That no file was replaced before the checkpoint, whatever its age: root and the user anetcon can do that by a commit.
  Such a commit is signed like any other. It is a line in manifest.jsonl, which names the files that it removes.
- That the store was not taken back to an older copy before it was signed. Compare it with what was noted elsewhere.
- What happened after the last connection that was sealed, or what retention had removed. The check says both times.
- Rows that others replaced, as where the daemon merged small files.
- Anything that custody.json says: nobody signed that file. It is the word of whoever exported this bundle.
"""
UNSIGNED = """
THE STORE WAS NOT SIGNED. There is no checkpoint here: the digests show damage, and prove nothing against somebody who
could write the store, or this file.
"""


@dataclass
class Evidence:
    """What a bundle shows: `wrong` is what does not fit, a sentence each. `through` is the latest time (us) of which it
    shows anything, None where that is not known; `removed` is what retention had removed of the time asked for."""

    custody: dict[str, Any] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    epoch: int | None = None
    trusted: Trusted | None = None
    files: int = 0
    rows: int = 0
    through: int | None = None
    removed: Removed | None = None
    wrong: list[str] = field(default_factory=list)

    @property
    def is_all(self) -> bool:
        """Whether it has all of the time that custody.json says."""
        until = self.custody["until_us"]
        return self.through is not None and self.removed is None and (until is None or until <= self.through)


def export(store: Path, span: tuple[int | None, int | None], out: IO[bytes], custody: dict[str, Any]) -> list[Entry]:
    """Write a bundle of the files that may have something between two times; which they are. Raises StoreError."""
    found = attested(store)
    if found.flaws:
        raise StoreError(f"{found.flaws[0].says}; `anetcon verify` says more: nothing was exported")
    seal = found.seals[-1] if found.seals else None
    lines = list(leaves.lines(store))[: seal.size if seal else leaves.read(store, []).size]
    entries = _wanted(_replayed(lines), *span)
    since, until = span
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as to:
        to.writestr(README, SHOWS + ("" if seal else UNSIGNED))
        to.writestr(CUSTODY, json.dumps({**custody, "since_us": since, "until_us": until}, indent=1) + "\n")
        if seal:
            _put_keys(to, store, seal)
        to.writestr(MANIFEST, b"".join(lines))
        for entry in entries:
            _put_file(to, store, entry)
    return entries


def _put_keys(to: zipfile.ZipFile, store: Path, seal: Seal) -> None:
    keys = Keyring(layout.sign_folder(store))
    to.writestr(CHECKPOINT, str(seal.kept.note))
    to.writestr(ROOT, f"{keys.root()}\n")
    for name, (note, content) in keys.certificate_files().items():
        to.writestr(f"{CERTIFICATES}{name}.note", note)
        to.writestr(f"{CERTIFICATES}{name}.keys", content)


def _put_file(to: zipfile.ZipFile, store: Path, entry: Entry) -> None:
    """A file as it is, which has to be what its line says."""
    path, digest = store / entry.file, hashlib.sha256()
    try:
        with path.open("rb") as file, to.open(zipfile.ZipInfo(entry.file), "w", force_zip64=True) as member:
            while data := file.read(BLOCK):
                digest.update(data)
                member.write(data)
    except FileNotFoundError:
        raise StoreError(f"{path} was replaced meanwhile: export again when the next checkpoint is signed") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    if digest.hexdigest() != entry.sha256:
        raise StoreError(f"{path} is not what the manifest says: `anetcon verify` says more; nothing was exported")


def _replayed(lines: Sequence[bytes]) -> State:
    """What these lines of a manifest add up to. Raises StoreError."""
    with tempfile.TemporaryDirectory() as folder:
        layout.manifest_path(Path(folder)).write_bytes(b"".join(lines))
        return manifest.replay(Path(folder))


def _wanted(state: State, since: int | None, until: int | None) -> list[Entry]:
    """The files that may have something between two times."""
    found = [entry for kind in ("connections", "open") for entry in state.of(kind) if entry.covers(since, until)]
    for table in layout.INTERVALS:
        found += state.touching(table, since, until)
    return found


def _through(state: State, checkpoint: Checkpoint | None) -> int | None:
    """The latest time of a connection that was sealed, and not after the checkpoint. The time of a commit would be too
    late: what waited for the next one may be hours old."""
    sealed = (entry for entry in state.connections if entry.seal not in state.imports)
    times = [entry.end or entry.start for entry in sealed]
    latest = max((microseconds(time) for time in times if time is not None), default=None)
    if latest is None or checkpoint is None:
        return latest
    return min(latest, microseconds(checkpoint.time))


def _removed(state: State, since: int | None, until: int | None) -> Removed | None:
    """What retention has removed, where some of it may be of this time."""
    gone = state.removed
    if gone is None or (since is not None and since >= gone.before) or (until is not None and until < gone.start):
        return None
    return gone


def verify(path: Path, key: PublicKey | None) -> Evidence:
    """Check a bundle, for who trusts this root key; without one for who trusts the key in it. Raises InputError."""
    try:
        with zipfile.ZipFile(path) as bundle:
            return _shown(bundle, key)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is no evidence bundle: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no evidence bundle of ANetCon: {error}") from error


def _shown(bundle: zipfile.ZipFile, key: PublicKey | None) -> Evidence:
    names = bundle.namelist()
    custody = json.loads(_read(bundle, CUSTODY))
    since, until = (custody[name] for name in ("since_us", "until_us"))
    if len(set(names)) < len(names) or not _is_span(since, until):
        raise ValueError("it says what no export says")
    lines = _lines(bundle)
    found = Evidence(custody)
    if CHECKPOINT in names:
        found.wrong += _signatures(found, bundle, lines, key)
    elif key is not None:
        found.wrong.append("it has no checkpoint, though a key was given: it was removed, or the store is not signed")
    try:
        state = _replayed(lines)
    except StoreError as error:
        found.wrong.append(f"manifest.jsonl does not hold: {str(error).partition(': ')[2]}")
        return found
    found.through, found.removed = _through(state, found.checkpoint), _removed(state, since, until)
    wanted = _wanted(state, since, until)
    for entry in wanted:
        if entry.file not in names:
            found.wrong.append(f"{entry.file} is not there, though the manifest has it for that time")
        elif bundle.getinfo(entry.file).file_size != entry.bytes or _digest(bundle, entry.file) != entry.sha256:
            found.wrong.append(f"{entry.file} is not what the manifest says")
        found.files += 1
        found.rows += entry.rows
    ours = {README, CUSTODY, CHECKPOINT, MANIFEST, ROOT, *(entry.file for entry in wanted)}
    ours |= {name for pair in _certificates(bundle) for name in pair}
    found.wrong += [f"{name} does not belong to it" for name in names if name not in ours]
    return found


def _read(bundle: zipfile.ZipFile, name: str) -> bytes:
    """A member as a whole, unless it is larger than any is."""
    size = bundle.getinfo(name).file_size
    if size > (MOST_LINES if name == MANIFEST else MOST):
        raise ValueError(f"{name} has {size} bytes, more than any export writes")
    return bundle.read(name)


def _lines(bundle: zipfile.ZipFile) -> list[bytes]:
    """The lines of the manifest."""
    content = _read(bundle, MANIFEST)
    if content.count(b"\n") * LEAST_LINE > len(content):
        raise ValueError(f"{MANIFEST} has shorter lines than any export writes")
    return list(io.BytesIO(content))


def _is_span(since: object, until: object) -> bool:
    """Whether these are the bounds of a time: microseconds of years that have a name, in order."""
    first, last = EARLIEST if since is None else since, LATEST if until is None else until
    return type(first) is type(last) is int and EARLIEST <= first <= last <= LATEST


def _certificates(bundle: zipfile.ZipFile) -> list[tuple[str, str]]:
    """The names of the files of each certificate: the note, and the keys that it is of."""
    notes = sorted(filter(_CERTIFICATE.fullmatch, bundle.namelist()))
    return [(name, f"{name.removesuffix('.note')}.keys") for name in notes]


def _signatures(found: Evidence, bundle: zipfile.ZipFile, lines: list[bytes], key: PublicKey | None) -> Iterator[str]:
    """What is wrong with the signatures of a bundle."""
    try:
        root = key or PublicKey.read(_read(bundle, ROOT).decode(errors="replace"))
        signed = [
            certificate.read(_read(bundle, note).decode(errors="replace"), _read(bundle, keys))
            for note, keys in _certificates(bundle)
        ]
        found.trusted = trusted = Trusted(root, signed)
        note = Note.read(_read(bundle, CHECKPOINT).decode(errors="replace"))
        checkpoint = Checkpoint.read(note.text)
        found.epoch = trusted.epoch_of(note)
        if checkpoint.origin != trusted.origin or not trusted.is_by_node(note):
            yield "the checkpoint is not signed by the node's key"
            return
    except (NoteError, KeyringError) as error:
        yield str(error)
        return
    tree = Range()
    for line in lines:
        tree.append(line)
    if (tree.size, tree.root()) != (checkpoint.size, checkpoint.root):
        yield "manifest.jsonl is not what the checkpoint was signed over"
        return
    found.checkpoint = checkpoint


def _digest(bundle: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with bundle.open(name) as member:
        while data := member.read(BLOCK):
            digest.update(data)
    return digest.hexdigest()
