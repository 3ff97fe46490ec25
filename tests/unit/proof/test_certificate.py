"""A certificate holds for who trusts its root, and an epoch's key signs for its epoch alone."""

from __future__ import annotations

import pytest

from anetcon.proof.certificate import (
    ELSEWHERE,
    ROOT,
    Certificate,
    Signed,
    Trusted,
    after,
    epoch_key,
    epoch_name,
    public_keys,
    read,
)
from anetcon.proof.note import Note, NoteError, SigningKey

ORIGIN = "anetcon/gw1/5f0c"
ROOT_KEY, OTHER_ROOT = SigningKey.of(ROOT, bytes(32)), SigningKey.of(ROOT, b"o" * 32)
NODE = SigningKey.of(ORIGIN, b"n" * 32)
SEED = b"s" * 32


def certified(*by: SigningKey, seed: bytes = SEED, first: int = 1, origin: str = ORIGIN) -> Signed:
    """Three epochs, signed by these keys."""
    keys = tuple(public_keys(origin, seed, 3))
    made = Certificate(origin, first, keys, NODE.public, ELSEWHERE)
    note = Note.signed(made.text, by or [ROOT_KEY])
    return read(str(note), b"".join(keys))


def signed(number: int, seed: bytes) -> Note:
    """A note of an epoch."""
    return Note.signed("a\n", [NODE, epoch_key(ORIGIN, number, seed)])


def test_epochs_follow_one_another() -> None:
    """The seed of one gives the keys of all that come after it; each signs under its own number alone."""
    trusted = Trusted(ROOT_KEY.public, [certified()])
    second = after(SEED)
    assert public_keys(ORIGIN, second, 2) == public_keys(ORIGIN, SEED, 3)[1:]
    assert [trusted.epoch_of(signed(n, s)) for n, s in ((1, SEED), (2, second), (3, after(second)))] == [1, 2, 3]
    assert trusted.epoch_of(signed(1, second)) is None, "a later seed signs for no earlier epoch"
    assert trusted.epoch_of(signed(4, after(after(second)))) is None, "nobody certified it"
    assert trusted.is_by_node(signed(1, SEED))
    odd = Note.signed("a\n", [SigningKey.of(epoch_name(ORIGIN, 1).replace("1", "\N{ARABIC-INDIC DIGIT ONE}"), SEED)])
    assert trusted.epoch_of(odd) is None


def test_who_trusts_another_root_trusts_nothing() -> None:
    """Where no certificate is by that root; nor where certificates are of two stores."""
    with pytest.raises(NoteError, match="no certificate of the node's keys is signed by"):
        Trusted(OTHER_ROOT.public, [certified()])
    with pytest.raises(NoteError, match="of several stores"):
        Trusted(ROOT_KEY.public, [certified(), certified(origin="anetcon/gw2/5f0c")])


def test_a_new_root_is_signed_for_by_the_epoch_before() -> None:
    """By an epoch that holds and comes before those it certifies, or the new root's certificate does not hold."""
    seed = b"t" * 32
    by_epoch = [certified(), certified(OTHER_ROOT, epoch_key(ORIGIN, 2, after(SEED)), seed=seed, first=3)]
    trusted = Trusted(ROOT_KEY.public, by_epoch)
    assert trusted.epoch_of(signed(3, seed)) == 3
    assert trusted.epoch_of(signed(3, after(after(SEED)))) == 3, "an epoch that two certificates have has two keys"
    for signers in ([OTHER_ROOT], [OTHER_ROOT, NODE], [OTHER_ROOT, epoch_key(ORIGIN, 2, SEED)]):
        assert len(Trusted(ROOT_KEY.public, [certified(), certified(*signers, seed=seed, first=3)]).certificates) == 1


def test_keys_that_were_not_certified() -> None:
    """One key changed, added or taken away, or a text that is no certificate, is refused."""
    note, keys = str(certified().note), b"".join(public_keys(ORIGIN, SEED, 3))
    for wrong in (keys[:-32], keys + keys[:32], keys[:-1], bytes(96)):
        with pytest.raises(NoteError, match="not those that were certified"):
            read(note, wrong)
    for old, new in (("first 1", "first x"), ("/keys\n", "\n"), ("made ", "made in ")):
        with pytest.raises(NoteError):
            read(note.replace(old, new, 1), keys)
