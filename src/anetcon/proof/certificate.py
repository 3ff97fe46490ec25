"""What a root key says of a node: its key, and the public keys of its next epochs. Pure.

An epoch's secret is a seed; the next one's follows from it and never the other way. So whoever takes a seed can sign
for that epoch and later ones, and for no earlier one. The root signs the public keys of all that are to come at once,
and is not needed on the node again before they are used up.

    anetcon/gw1/5f0c2d9a4b7e1c36/keys                    whose keys they are
    10000                                                how many epochs
    9sBc...=                                             the root of the tree over their public keys (`merkle`)
    first 1                                              the number of the first of them
    node anetcon/gw1/...+c74f20a3+ARpc...                the key that stays
    made here                                            where the root key was made: here, or elsewhere
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from anetcon.proof.merkle import SIZE, Range
from anetcon.proof.note import Checkpoint, Note, NoteError, PublicKey, SigningKey, known

EPOCHS = 10_000
"""So many epochs are certified at once: a year and more of hours."""

ROOT = "anetcon-root"
"""The name of every root key: it may be one for many nodes."""

HERE, ELSEWHERE = "here", "elsewhere"
"""Where a root key was made: on the node, and erased; or in a file that stays away from it."""

_KEYS = "/keys"


def key_of(seed: bytes) -> bytes:
    """The secret key of an epoch."""
    return hashlib.sha256(b"anetcon epoch key\n" + seed).digest()


def after(seed: bytes) -> bytes:
    """The seed of the epoch after it."""
    return hashlib.sha256(b"anetcon next epoch\n" + seed).digest()


def epoch_name(origin: str, number: int) -> str:
    """The name of an epoch's key."""
    return f"{origin}/epoch/{number}"


def epoch_key(origin: str, number: int, seed: bytes) -> SigningKey:
    """The key of an epoch."""
    return SigningKey.of(epoch_name(origin, number), key_of(seed))


def public_keys(origin: str, seed: bytes, count: int) -> list[bytes]:
    """The public keys of so many epochs, the first of which has this seed."""
    return [each.public.key for each in _keys(origin, seed, count)]


def _keys(origin: str, seed: bytes, count: int) -> Iterator[SigningKey]:
    for _ in range(count):
        yield epoch_key(origin, 0, seed)
        seed = after(seed)


class Certificate(NamedTuple):
    """What a root said of the keys of `origin`: the key that stays, and `keys` of epochs from number `first` on."""

    origin: str
    first: int
    keys: tuple[bytes, ...]
    node: PublicKey
    made: str

    @property
    def text(self) -> str:
        """What is signed."""
        over = Range()
        for key in self.keys:
            over.append(key)
        head = Checkpoint(self.origin + _KEYS, len(self.keys), over.root(), "", "", "", "").text
        return f"{head}first {self.first}\nnode {self.node}\nmade {self.made}\n"

    @classmethod
    def read(cls, text: str, keys: Sequence[bytes]) -> Certificate:
        """What a note's text says, with the keys that it is of. Raises NoteError."""
        head = Checkpoint.read(text)
        said = dict(line.partition(" ")[::2] for line in text.splitlines()[3:])
        first, made = said.get("first", ""), said.get("made", "")
        if not first.isdecimal() or made not in (HERE, ELSEWHERE) or not head.origin.endswith(_KEYS):
            raise NoteError("it is no certificate of keys")
        node = PublicKey.read(said.get("node", ""))
        found = cls(head.origin.removesuffix(_KEYS), int(first), tuple(keys), node, made)
        if found.text != text:
            raise NoteError("the keys are not those that were certified")
        return found

    def key(self, epoch: int) -> PublicKey | None:
        """The key of an epoch, if it is one of these."""
        at = epoch - self.first
        return PublicKey(epoch_name(self.origin, epoch), self.keys[at]) if 0 <= at < len(self.keys) else None


class Signed(NamedTuple):
    """A certificate and the note that it is in."""

    certificate: Certificate
    note: Note


def read(note: str, keys: bytes) -> Signed:
    """A certificate of two files: a note, and 32 bytes a key. Raises NoteError."""
    found = Note.read(note)
    each = [keys[at : at + SIZE] for at in range(0, len(keys), SIZE)]
    return Signed(Certificate.read(found.text, each), found)


class Trusted:
    """The certificates that hold for somebody who trusts a root key, and `earlier` ones. A root signed them; or an
    epoch did that holds itself and is none after theirs, as where a new root was made on the node. Raises NoteError
    where there is none."""

    def __init__(self, root: PublicKey, found: Sequence[Signed], earlier: Sequence[PublicKey] = ()) -> None:
        self.root = root
        self.certificates: list[Certificate] = []
        for signed in found:
            if known(signed.note, [root, *earlier]) or self._continues(signed):
                self.certificates.append(signed.certificate)
        if not self.certificates:
            raise NoteError(f"no certificate of the node's keys is signed by {root}")
        if len({each.origin for each in self.certificates}) > 1:
            raise NoteError("the certificates are of several stores")
        self.origin = self.certificates[0].origin
        self.made_here = any(each.made == HERE for each in self.certificates)

    @property
    def nodes(self) -> list[PublicKey]:
        """The keys that stay."""
        return list(dict.fromkeys(each.node for each in self.certificates))

    @property
    def first(self) -> int:
        """The first epoch that is certified: earlier ones are of a root that is not trusted."""
        return min(each.first for each in self.certificates)

    def epochs(self, number: int) -> list[PublicKey]:
        """The keys that an epoch may have."""
        return [key for each in self.certificates if (key := each.key(number)) is not None]

    def epoch_of(self, note: Note) -> int | None:
        """The epoch whose key signed a note; None where none did. Raises NoteError where its signature is wrong."""
        for each in note.signatures:
            number = _number(each.name, epoch_name(self.origin, 0)[:-1])
            if any(key.id == each.id and note.is_signed_by(key) for key in self.epochs(number)):
                return number
        return None

    def is_last(self, number: int) -> bool:
        """Whether a certificate ends with this epoch: then the key that stays signs alone, until more are certified."""
        return any(number == each.first + len(each.keys) - 1 for each in self.certificates)

    def is_by_node(self, note: Note) -> bool:
        """Whether the key that stays signed a note. Raises NoteError where its signature is wrong."""
        return any(note.is_signed_by(key) for key in self.nodes)

    def _continues(self, signed: Signed) -> bool:
        if not self.certificates or signed.certificate.origin != self.certificates[0].origin:
            return False
        self.origin = signed.certificate.origin
        number = self.epoch_of(signed.note)
        return number is not None and number <= signed.certificate.first


def _number(name: str, before: str) -> int:
    """The number of an epoch that a name ends with; -1 where it does not."""
    number = name.removeprefix(before)
    return int(number) if re.fullmatch("[1-9][0-9]{0,11}", number) and name == before + number else -1
