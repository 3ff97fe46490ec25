"""Names that anybody may choose: recorded reversibly, shown harmlessly."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.system.printable import file_name, namespace_hash, original, recorded, visible

BYTES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda text: text.encode(errors="surrogatepass")),
    st.text(st.sampled_from("\\x0a1b\n\x1b\u202eé \x7f\x9b"), max_size=20).map(str.encode),
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"qrouter-1", "qrouter-1"),
        (b"a b", "a b"),
        ("réseau 網".encode(), "réseau 網"),
        (b"a\nb", r"a\x0ab"),
        (b"\x1b[31m\x07", r"\x1b[31m\x07"),
        (b"a\\nb", r"a\\nb"),
        (b"a\\x0ab", r"a\\x0ab"),
        (b"\xff\x80", r"\xff\x80"),
        ("\u202ea\u2028\x9b\x7f\u200b".encode(), r"\xe2\x80\xaea\xe2\x80\xa8\xc2\x9b\x7f\xe2\x80\x8b"),
    ],
)
def test_how_a_name_is_recorded(name: bytes, shown: str) -> None:
    """Printable characters as they are, a backslash doubled, of any other each byte."""
    assert recorded(os.fsdecode(name)) == shown
    assert original(shown) == name
    assert os.fsencode(file_name(shown)) == name


@given(BYTES)
def test_any_name(name: bytes) -> None:
    """It is recorded as one printable line of text that has its bytes, so two names never become one."""
    shown = recorded(os.fsdecode(name))
    assert shown.isprintable()
    assert original(shown.encode().decode()) == name
    assert visible(shown) == shown
    assert namespace_hash(shown) == hashlib.md5(name, usedforsecurity=False).hexdigest()[:8]


@given(st.text())
def test_any_text(text: str) -> None:
    """What is shown is printable, and the same where it was; whatever was recorded before has some bytes."""
    assert visible(text).isprintable()
    assert visible(text) == text or not text.isprintable()
    assert isinstance(original(text.encode(errors="replace").decode()), bytes)


def test_names_that_were_recorded_before() -> None:
    """A backslash that escapes nothing stands for itself."""
    assert original(r"a\b\x4") == rb"a\b\x4"
