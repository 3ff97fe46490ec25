"""Notes are those of C2SP, and whoever reads one sees what was signed or nothing."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.proof.note import Checkpoint, Note, NoteError, PublicKey, SigningKey, is_text, known

SEED = bytes(range(32))
KEY = SigningKey.of("anetcon/gw1/5f0c", SEED)
OTHER = SigningKey.of("anetcon/gw1/5f0c", SEED[::-1])

names = st.text(st.characters(exclude_characters="+", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(
    lambda name: not any(character.isspace() for character in name)
)
lines = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
texts = st.lists(lines, min_size=1, max_size=6).map(lambda found: "\n".join(found) + "\n")
checkpoints = st.builds(
    Checkpoint,
    origin=names,
    size=st.integers(0, 10**15),
    root=st.binary(min_size=32, max_size=32),
    time=lines,
    gaps=lines,
    boot=lines,
    counters=lines,
)


def test_the_known_note() -> None:
    """The example of Go's golang.org/x/mod/sumdb/note, with the key that it has there."""
    key = PublicKey.read("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signed = (
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    note = Note.read(f"{text}\n{signed}")
    assert note.text == text
    assert note.is_signed_by(key)
    with pytest.raises(NoteError, match="PeterNeumann is wrong"):
        Note.read(f"{text.replace('answer', 'Answer')}\n{signed}").is_signed_by(key)


@given(texts, st.integers(1, 3))
def test_what_was_signed_is_read(text: str, count: int) -> None:
    """The text and each signature, by the keys that signed it and no other; a key is read as it is printed."""
    keys = [SigningKey.of(f"key-{number}", bytes([number]) * 32) for number in range(4)]
    note = Note.read(str(Note.signed(text, keys[:count])))
    assert note.text == text
    publics = [PublicKey.read(f"{key.public}\n") for key in keys]
    assert known(note, publics) == publics[:count]
    assert known(note, [OTHER.public]) == []


@given(texts, st.integers(0, 10_000), st.integers(1, 255))
def test_one_byte_of_a_note_changed_is_found(text: str, at: int, change: int) -> None:
    """It is no note, or not signed, or wrongly signed."""
    content = bytearray(str(Note.signed(text, [KEY])).encode())
    content[at % len(content)] ^= change
    try:
        note = Note.read(content.decode())
        assert not note.is_signed_by(KEY.public) or note.text == text
    except (NoteError, UnicodeDecodeError):
        return


@given(st.text(max_size=80) | st.text("a\n— +=A\0", max_size=40))
def test_whatever_is_read(content: str) -> None:
    """It is a note that is written as it was read, or a NoteError."""
    for read in (Note.read, PublicKey.read):
        try:
            found = read(content)
        except NoteError:
            continue
        assert str(found) == (content if read == Note.read else content.strip())


@given(checkpoints)
def test_a_checkpoint_is_read_as_it_was_written(checkpoint: Checkpoint) -> None:
    """All that it says; what a later version says besides is overlooked."""
    assert Checkpoint.read(checkpoint.text) == checkpoint
    assert Checkpoint.read(checkpoint.text + "later 1\n") == checkpoint
    assert is_text(checkpoint.text)


@pytest.mark.parametrize(
    "text",
    [
        "\n",
        "a\n",
        "a\n1\n",
        f"a\n01\n{base64.b64encode(SEED).decode()}\n",
        f"a\n-1\n{base64.b64encode(SEED).decode()}\n",
        f"\n1\n{base64.b64encode(SEED).decode()}\n",
        f"a\n1\n{base64.b64encode(SEED[1:]).decode()}\n",
        f"a\n1\n{base64.b64encode(SEED).decode()[:-1]}\n",
        f"a\n1\n{base64.b64encode(SEED).decode()}\n\nb\n",
        f"a\n1\n{base64.b64encode(SEED).decode()}\ntime 1\ntime 2\n",
        "a\n1\n\xe4\n",
    ],
)
def test_what_is_no_checkpoint(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(NoteError):
        Checkpoint.read(text)


def test_what_is_no_note_to_sign() -> None:
    """A text with an escape in it, or without an end, or that no file can have."""
    for text in ("", "a", "a\x1b[2J\n", "\udc80\n"):
        with pytest.raises(NoteError):
            Note.signed(text, [KEY])


def test_a_wrong_signature_is_not_an_unknown_one() -> None:
    """A signature with the id of a known key and another content is told, not overlooked."""
    note = Note.signed("a\n", [KEY])
    forged = note._replace(signatures=(note.signatures[0]._replace(content=bytes(64)),))
    with pytest.raises(NoteError, match="is wrong"):
        known(forged, [KEY.public])
    assert not Note.signed("a\n", [OTHER]).is_signed_by(KEY.public)
    many = note._replace(signatures=note.signatures * 101)
    with pytest.raises(NoteError, match="too many"):
        Note.read(str(many))
