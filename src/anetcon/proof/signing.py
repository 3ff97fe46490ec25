"""Signing what is sealed: after each commit a checkpoint over the manifest, once its files are what it says.

The checkpoint before is what it remembers. A manifest that does not go on from there was rewritten or rolled back: that
is told, and nothing is signed as long as it lasts.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from anetcon.errors import StoreError
from anetcon.proof import anchors, leaves
from anetcon.proof.checkpoints import Checkpoints
from anetcon.proof.keyring import Keyring, boot_id
from anetcon.proof.leaves import Log
from anetcon.proof.note import Checkpoint, Note
from anetcon.proof.told import LastWord
from anetcon.store import layout, manifest
from anetcon.store.entry import Entry
from anetcon.system import clock
from anetcon.system.report import ERROR, NOTICE, report

BLOCK = 1 << 20
REFUSALS = "refusals.jsonl"
"""Each time that it refused, and why."""
COUNTED = ("events", "drops", "undecodable")
"""Counters of namespaces that a checkpoint adds up, as the daemon tells them in `status.json`."""


class RefusalError(Exception):
    """What is sealed cannot be signed; says why."""


class Signer:
    """Signs a store, with the keys in its folder."""

    def __init__(self, store: Path, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._keys, self._checkpoints = Keyring(folder), Checkpoints(folder)
        self._told = LastWord("", 0, 0, "")

    def step(self) -> Checkpoint | None:
        """Sign what is new; None where nothing is, or where it refuses. Raises KeyringError, OSError."""
        last = self._checkpoints.last()
        signed = (0, b"") if last is None else (last.checkpoint.size, last.checkpoint.root)
        try:
            found = self._checked(*signed)
        except (RefusalError, StoreError) as error:
            self._refuse(str(error), signed[0])
            return None
        if self._told.refused:
            report(f"{NOTICE}the manifest goes on from what was signed again")
        if found.size == signed[0]:
            self._tell(signed[0], "")
            return None
        keys = self._keys.signing_keys()
        checkpoint = Checkpoint(
            keys[0].name, found.size, found.root, clock.text(clock.now_us()), found.gaps, boot_id(), self._counters()
        )
        self._checkpoints.append(Note.signed(checkpoint.text, keys), self._keys.epoch())
        report(anchors.line(checkpoint.origin, checkpoint.size, checkpoint.root, self._keys.epoch()))
        self._tell(found.size, "")
        return checkpoint

    def _checked(self, size: int, root: bytes) -> Log:
        """The manifest, which goes on from what was signed, and whose new files are as it says. Raises RefusalError."""
        path = layout.manifest_path(self._store)
        found = leaves.read(self._store, [size])
        if found.size < size:
            raise RefusalError(f"{path} has {found.size} lines, but {size} are signed: it was rolled back")
        if size and found.roots[size] != root:
            raise RefusalError(f"{path} was rewritten: its first {size} lines are not those that are signed")
        missing = list[str]()
        for number, entry in found.new.values():
            try:
                self._require(number, entry)
            except FileNotFoundError:
                missing.append(entry.file)
            except OSError as error:
                raise RefusalError(f"cannot read {error.filename}: {error.strerror}") from error
        if missing:  # a newer commit may have removed it, or one of an older version, which does not name it
            counts = manifest.replay(self._store).files()
            for file in missing:
                if file in counts:
                    raise RefusalError(f"{self._store / file} is missing: the manifest adds it")
        return found

    def _require(self, number: int, entry: Entry) -> None:
        """Raise RefusalError unless a file is as its line says."""
        if not layout.is_named_so(entry.file):
            raise RefusalError(f"line {number} of the manifest names {entry.file!r}, which is no file of a store")
        path, digest, size = self._store / entry.file, hashlib.sha256(), 0
        with path.open("rb", buffering=0) as file:
            while data := file.read(BLOCK):
                digest.update(data)
                size += len(data)
        if (size, digest.hexdigest()) != (entry.bytes, entry.sha256):
            raise RefusalError(f"{path} is not what line {number} of the manifest says")

    def _counters(self) -> str:
        """What the daemon says that it has read and lost: its word, as of now."""
        try:
            spaces = json.loads(layout.status_path(self._store).read_bytes())["namespaces"]
            sums = {name: sum(int(each.get(name) or 0) for each in spaces) for name in COUNTED}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
            return ""
        return " ".join(f"{name}={value}" for name, value in sums.items())

    def _refuse(self, why: str, size: int) -> None:
        if why != self._told.refused:
            report(f"{ERROR}refuses to sign: {why}; `anetcon verify` says more")
            line = json.dumps({"time": clock.text(clock.now_us()), "why": why}).encode() + b"\n"
            with (self._folder / REFUSALS).open("ab") as file:
                file.write(line)
        self._tell(size, why)

    def live(self) -> None:
        """Be seen to live, though the manifest is as it was; what was refused may be as it should be by now."""
        if self._told.refused:
            self.step()
        else:
            self._tell(self._told.size, "")

    def _tell(self, size: int, refused: str) -> None:
        """Write what `told` reads."""
        self._told = LastWord(clock.text(clock.now_us()), size, self._keys.epoch(), refused)
        self._told.write(self._folder)
