"""Names and other text that somebody else chose: as it is recorded, and as people are shown it.

Whoever may make a network namespace chooses nearly any bytes for its name, a newline and the escapes of a terminal
among them. `recorded` makes text of them that is a line of its own wherever it is written, and from which `original`
makes the same bytes again, so that two names never become one:

    \\x0a    a byte of a character that is not printable, a bidi control among them, or of none at all
    \\\\      a backslash

What is shown to people goes through `visible`, which shows so what is not printable, once: what was recorded stays as
it is.
"""

from __future__ import annotations

import re

_ESCAPED = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")


def visible(text: str) -> str:
    """Text as one line that does nothing to a terminal: what is not printable by the bytes it has."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _bytes(c) for c in text)


def _bytes(character: str) -> str:
    try:
        content = character.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        content = character.encode(errors="surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in content)


def recorded(name: str) -> str:
    """A name as it is recorded, of one as Python has those of files (undecodable bytes as surrogates)."""
    return visible(name.replace("\\", "\\\\"))


def original(netns: str) -> bytes:
    """The bytes of a name that is recorded so."""
    content = netns.encode(errors="surrogateescape")
    return _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()) if found[1] else b"\\", content)


def file_name(netns: str) -> str:
    """The name of the file of a namespace that is recorded so."""
    return original(netns).decode(errors="surrogateescape")


def canonical(text: str) -> str:
    """A name as it is recorded, of one that is written so but for characters that are as they are."""
    return recorded(file_name(text))


def namespace_hash(netns: str) -> str:
    """What stands for a namespace in a prefix: the md5 of its true name in 8 digits, as `printf %s NAME | md5sum`."""
    import hashlib  # not before it is needed: the keeper starts fast

    return hashlib.md5(original(netns), usedforsecurity=False).hexdigest()[:8]
