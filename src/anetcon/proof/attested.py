"""What the checkpoints of a store prove of its manifest, to whoever trusts a root key.

Wrong is what cannot come about by itself: a signature that does not hold, lines that are not those that were signed, a
manifest that is shorter than what was signed, an epoch whose checkpoints are missing. What was signed last can be taken
away unseen, together with the lines: only a copy of a checkpoint in another place shows that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from anetcon.errors import KeyringError, StoreError
from anetcon.proof import leaves
from anetcon.proof.anchors import Anchor
from anetcon.proof.certificate import Trusted
from anetcon.proof.checkpoints import Checkpoints, Kept
from anetcon.proof.keyring import Keyring
from anetcon.proof.note import NoteError, PublicKey
from anetcon.proof.signing import REFUSALS
from anetcon.store import layout
from anetcon.store.verify import Discrepancy, Wrong

MOST_TOLD = 20
"""Of one kind of finding; one byte of the manifest makes all later checkpoints wrong."""


class Seal(NamedTuple):
    """A checkpoint that holds: so many lines, when, by the key of which epoch; None: by the key that stays alone."""

    size: int
    time: str
    epoch: int | None
    kept: Kept


@dataclass
class Attested:
    """What is proven: `seals` that hold, oldest first, whose keys come from `trusted`; `own`: the root key is the one
    that the node itself names."""

    trusted: Trusted | None = None
    own: bool = True
    seals: list[Seal] = field(default_factory=list)
    flaws: list[Discrepancy] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    anchored: int = 0
    """How many lines are as they were when they were noted in another place."""

    @property
    def size(self) -> int:
        """How many lines are proven."""
        return max((seal.size for seal in self.seals), default=0)

    def of(self, line: int) -> Seal | None:
        """The first checkpoint over a line of the manifest, counted from 1."""
        return next((seal for seal in self.seals if 0 < line <= seal.size), None)

    @property
    def integrity(self) -> str:
        """In a few words, for an answer."""
        if not self.seals:
            return "chain only"
        how = f"anchored up to line {self.anchored}" if self.anchored else "signed, not anchored"
        return how + ("; root made on this node" if self.trusted and self.trusted.made_here else "")


def attested(
    store: Path, key: PublicKey | None = None, noted: Sequence[Anchor] = (), earlier: Sequence[PublicKey] = ()
) -> Attested:
    """Check every checkpoint, and those that were noted elsewhere, for who trusts a root key and earlier ones."""
    folder, found = layout.sign_folder(store), Attested(own=key is None)
    keys, kept = Keyring(folder), Checkpoints(folder)
    try:
        if not keys.certificate_files():
            if key is not None or noted:
                says = f"{folder} has no keys: nothing is signed, or the signatures were removed"
                says += "; nothing could be compared with what was noted elsewhere" if noted else ""
                found.flaws.append(Discrepancy(Wrong.UNSIGNED, str(folder), says))
            return found
        found.trusted = trusted = keys.trusted(key, earlier)
    except KeyringError as error:
        found.flaws.append(Discrepancy(Wrong.SIGNATURE, str(folder), str(error)))
        return found
    found.notes += _limits(store, trusted)
    held = list(_held(found, trusted, kept))
    ours = [each for each in noted if each.origin == trusted.origin]
    if noted and not ours:
        found.notes.append(f"no checkpoint of {trusted.origin} was noted")
    _compare(found, store, held, ours)
    _missing(found, trusted.first, held, max(0, keys.epoch(), *kept.epochs()), kept)
    found.notes += _refusals(folder)
    if not held:
        says = f"{folder} has keys and no checkpoint: nothing was signed yet, or the checkpoints were removed"
        found.flaws += [Discrepancy(Wrong.UNSIGNED, str(folder), says)] if key is not None else []
        found.notes += [says] if key is None else []
    return found


def _limits(store: Path, trusted: Trusted) -> Iterator[str]:
    """What the keys do not speak of."""
    if trusted.first > 1:
        yield f"epochs 1 to {trusted.first - 1} are not certified by this root: give the earlier key too"
    node = trusted.origin.split("/")[1]
    there = sorted({folder.parent.name.partition("=")[2] for folder in layout.folders_of_day(store)})
    if there and node not in there:
        yield f"the keys are of node {node}, and the records of {', '.join(there[:MOST_TOLD])}"


def _held(found: Attested, trusted: Trusted, kept: Checkpoints) -> Iterator[Seal]:
    """The checkpoints whose signatures hold."""
    size = 0
    for number in (number for number in kept.epochs() if number >= trusted.first):
        try:
            for each in kept.of(number):
                epoch, wrong = _judged(trusted, each, number)
                if not wrong and each.checkpoint.size < size:
                    wrong = f"it has {each.checkpoint.size} lines, and one before it {size}"
                if wrong:
                    _tell(found, Wrong.SIGNATURE, str(kept.folder), f"{each.place} does not hold: {wrong}")
                    continue
                size = each.checkpoint.size
                yield Seal(size, each.checkpoint.time, epoch, each)
        except KeyringError as error:
            _tell(found, Wrong.SIGNATURE, str(kept.folder), str(error))


def _judged(trusted: Trusted, kept: Kept, number: int) -> tuple[int | None, str]:
    """The epoch by whose key a checkpoint in the file of this epoch was signed, and what is wrong with it."""
    try:
        epoch, is_by_node = trusted.epoch_of(kept.note), trusted.is_by_node(kept.note)
    except NoteError as error:
        return None, str(error)
    if not is_by_node:
        return epoch, "the key of the node has not signed it"
    if kept.checkpoint.origin != trusted.origin:
        return epoch, f"it is of {kept.checkpoint.origin}"
    if epoch is None and not trusted.is_last(number):  # the key of the node is never erased: alone it proves no time
        return epoch, f"the key of epoch {number} has not signed it"
    return epoch, "" if epoch in (None, number) else f"it is of epoch {epoch}"


def _compare(found: Attested, store: Path, held: list[Seal], noted: list[Anchor]) -> None:
    """Keep those that hold of the manifest as it is, and take in what was noted."""
    path = layout.manifest_path(store)
    try:
        now = leaves.read(store, {seal.size for seal in held} | {anchor.size for anchor in noted})
    except StoreError as error:
        found.notes.append(f"{error}: so no checkpoint could be compared")
        return
    for seal in held:
        by = f"of {seal.time}" + (f" (epoch {seal.epoch})" if seal.epoch else "")
        if seal.size > now.size:
            says = f"{path} has {now.size} lines, and the checkpoint {by} {seal.size}: it was rolled back"
            _tell(found, Wrong.ROLLED_BACK, str(path), says)
        elif now.roots.get(seal.size) != seal.kept.checkpoint.root:
            says = f"the first {seal.size} lines of {path} are not those of the checkpoint {by}: they were rewritten"
            _tell(found, Wrong.REWRITTEN, str(path), says)
        else:
            found.seals.append(seal)
    for anchor in noted:
        if anchor.size > now.size:
            says = f"{path} has {now.size} lines, and {anchor.place} notes {anchor.size}: it was rolled back"
            _tell(found, Wrong.ROLLED_BACK, str(path), says)
        elif now.roots.get(anchor.size) != anchor.root:
            says = f"the first {anchor.size} lines of {path} are not those that {anchor.place} notes"
            _tell(found, Wrong.REWRITTEN, str(path), says)
        else:
            found.anchored = max(found.anchored, anchor.size)


def _missing(found: Attested, first: int, held: list[Seal], newest: int, kept: Checkpoints) -> None:
    """Find the epochs that have no checkpoint by their own key: each that is over has one, for else it had gone on."""
    there = {seal.epoch for seal in held}
    gone = list(islice((number for number in range(first, newest) if number not in there), MOST_TOLD + 1))
    if gone:
        names = ", ".join(map(str, gone[:MOST_TOLD])) + (" and more" if len(gone) > MOST_TOLD else "")
        says = f"{kept.folder} has no checkpoint by the key of epoch {names}: they were removed or replaced"
        found.flaws.append(Discrepancy(Wrong.EPOCHS, str(kept.folder), says))


def _refusals(folder: Path) -> Iterator[str]:
    """What whoever signs refused to sign."""
    try:
        lines = (folder / REFUSALS).read_text(errors="replace").splitlines()
        said = [json.loads(line) for line in lines]
        yield from (f"at {each['time']} nothing was signed: {each['why']}" for each in said[-MOST_TOLD:])
    except FileNotFoundError:
        return
    except (OSError, ValueError, LookupError, TypeError):
        yield f"{folder / REFUSALS} cannot be read: it says when nothing was signed, and why"


def _tell(found: Attested, wrong: Wrong, path: str, says: str) -> None:
    """One more; of each kind only so many."""
    if sum(flaw.wrong == wrong for flaw in found.flaws) < MOST_TOLD:
        found.flaws.append(Discrepancy(wrong, path, says))
