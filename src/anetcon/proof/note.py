"""Signed notes (c2sp.org/signed-note) with Ed25519, and checkpoints (c2sp.org/tlog-checkpoint) in them. Pure.

    anetcon/gw1/5f0c2d9a4b7e1c36                         whose log it is
    4711                                                 lines of the manifest
    9sBc...=                                             the root over them (`merkle`), base64
    time 2026-11-20T13:05:09.000000Z                     and what else is said, a line each

    — anetcon/gw1/5f0c2d9a4b7e1c36 vAx3...=              a signature a line, over all before the empty line

Whoever reads one checks the signatures of the keys that he knows and overlooks those of others. What is not exactly so
is a NoteError: of two readers none must see another text than the other.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from anetcon.proof.merkle import SIZE

ED25519 = b"\1"
"""The kind of signature, in front of a public key."""

MOST_SIGNATURES = 100
"""Of a note; more is not looked at."""

_DASH = "— "
_CONTROL = re.compile("[\0-\x09\x0b-\x1f\x7f]")
_NAME = re.compile(r"[^\s+]+")
_SIZE = re.compile("0|[1-9][0-9]{0,17}")


class NoteError(ValueError):
    """It is no signed note, or no checkpoint, or a signature on it is wrong; says which."""


class PublicKey(NamedTuple):
    """A key that can be told to everybody, with the name of whose it is."""

    name: str
    key: bytes

    @property
    def id(self) -> bytes:
        """By which a signature says whose it is."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.key).decode()}"

    @classmethod
    def read(cls, text: str) -> PublicKey:
        """A key as it is printed. Raises NoteError."""
        name, _, rest = text.strip().partition("+")
        number, _, encoded = rest.partition("+")
        content = _bytes(encoded)
        found = cls(name, content[1:])
        if content[:1] != ED25519 or len(found.key) != SIZE or not _NAME.fullmatch(name) or found.id.hex() != number:
            raise NoteError(f"{text.strip()[:100]!r} is no public key as `anetcon keys status` prints one")
        return found


def read_keys(text: str) -> list[PublicKey]:
    """Keys as they are printed, a line each, at least one. Raises NoteError."""
    return [PublicKey.read(line) for line in text.split("\n") if line.strip()] or [PublicKey.read(text)]


class SigningKey(NamedTuple):
    """A key that is secret."""

    name: str
    private: Ed25519PrivateKey

    @classmethod
    def of(cls, name: str, seed: bytes) -> SigningKey:
        """The key made of 32 secret bytes."""
        return cls(name, Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def public(self) -> PublicKey:
        """What others check its signatures with."""
        return PublicKey(self.name, self.private.public_key().public_bytes_raw())


class Signature(NamedTuple):
    """Whose it says it is, and what it is."""

    name: str
    id: bytes
    content: bytes


class Note(NamedTuple):
    """A text, which ends with a newline, and signatures of it, none of which has been checked."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def read(cls, content: str) -> Note:
        """A note as it is written. Raises NoteError."""
        at = content.rfind("\n\n") + 1
        text, below = content[:at], content[at + 1 :]
        if not at or not below.endswith("\n") or not is_text(text):
            raise NoteError("it is no signed note")
        lines = below[:-1].split("\n")
        if len(lines) > MOST_SIGNATURES:
            raise NoteError("it has too many signatures")
        return cls(text, tuple(map(_signature, lines)))

    @classmethod
    def signed(cls, text: str, keys: Iterable[SigningKey]) -> Note:
        """A text with signatures of these keys. Raises NoteError."""
        if not is_text(text):
            raise NoteError("a text to be signed is lines without control characters")
        made = [Signature(key.name, key.public.id, key.private.sign(text.encode())) for key in keys]
        return cls(text, tuple(made))

    def __str__(self) -> str:
        lines = [f"{_DASH}{each.name} {_text(each.id + each.content)}\n" for each in self.signatures]
        return f"{self.text}\n{''.join(lines)}"

    def is_signed_by(self, key: PublicKey) -> bool:
        """Whether this key signed the text. Raises NoteError where a signature says so and is wrong."""
        found = [each.content for each in self.signatures if (each.name, each.id) == (key.name, key.id)]
        for content in found:
            try:
                Ed25519PublicKey.from_public_bytes(key.key).verify(content, self.text.encode())
            except (InvalidSignature, ValueError):
                raise NoteError(f"the signature of {key.name} is wrong") from None
        return bool(found)


class Checkpoint(NamedTuple):
    """What was true of a log at a time: so many lines, under this root. `gaps` is the digest of `leaves.Log`, `boot`
    the kernel's id of the boot, `counters` what the daemon said it had read and lost, `name=number` each."""

    origin: str
    size: int
    root: bytes
    time: str
    gaps: str
    boot: str
    counters: str

    @property
    def text(self) -> str:
        """What is signed."""
        more = [f"{name} {getattr(self, name)}" for name in _SAID if getattr(self, name)]
        return "\n".join([self.origin, str(self.size), _text(self.root), *more]) + "\n"

    @classmethod
    def read(cls, text: str) -> Checkpoint:
        """What a note's text says; lines that are not known are those of later versions. Raises NoteError."""
        origin, size, root, *more = [*text[:-1].split("\n"), "", ""][: max(3, text.count("\n"))]
        if not origin or not _SIZE.fullmatch(size) or len(_bytes(root)) != SIZE or "" in more:
            raise NoteError("it is no checkpoint")
        said = dict[str, str]()
        for line in more:
            name, _, value = line.partition(" ")
            if name in said:
                raise NoteError(f"it says `{name}` twice")
            said[name] = value
        return cls(origin, int(size), _bytes(root), **{name: said.get(name, "") for name in _SAID})


_SAID = Checkpoint._fields[3:]


def is_text(text: str) -> bool:
    """Whether it is lines that can be signed: nobody reads them otherwise than another."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return text.endswith("\n") and not _CONTROL.search(text)


def _signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    content = _bytes(encoded)
    if not line.startswith(_DASH) or not _NAME.fullmatch(name) or len(content) < 5:
        raise NoteError("a line below the empty one is no signature")
    return Signature(name, content[:4], content[4:])


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    """What a text in base64 has: in the one spelling it can have."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError(f"{text[:100]!r} is no base64") from None
    if _text(content) != text:
        raise NoteError(f"{text[:100]!r} is not base64 as it is written")
    return content


def known(note: Note, keys: Sequence[PublicKey]) -> list[PublicKey]:
    """Which of these keys signed a note. Raises NoteError where one of their signatures is wrong."""
    return [key for key in keys if note.is_signed_by(key)]
