"""The file of hashes: whose hash it is, and what tells a namespace from others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.errors import InputError
from anetcon.history.names import NamespaceCodes, listed
from anetcon.record import UNKNOWN_NETNS
from anetcon.system.printable import namespace_hash

DEFAULT = {namespace_hash("default").encode(): "default"}
OWN = namespace_hash("qrouter-1")


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ((f"qrouter-1 [{OWN}]", f"qrouter-1 [{OWN}]"), {OWN: "qrouter-1"}),
        (("a b [11111111]", "", "# a remark", "c[22222222]", "d [2222222G]"), {"11111111": "a b"}),
        ((f"qrouter-1 [{OWN}]", f"customer 7 [{OWN}]"), {OWN: "qrouter-1"}),
        (("one [11111111]", "other [11111111]", "third [22222222]"), {"22222222": "third"}),
        ((f"gw [{namespace_hash('default')}]",), {}),
    ],
)
def test_whose_hash_it_is(tmp_path: Path, lines: tuple[str, ...], named: dict[str, str]) -> None:
    """The name's beside it; of several that one's whose hash it is; where that tells no single one, nobody's."""
    file = tmp_path / "namespace.hash"
    for order in (lines, lines[::-1]):
        file.write_text("".join(line + "\n" for line in order))
        assert listed(file, asked=False) == DEFAULT | {key.encode(): name for key, name in named.items()}


def test_no_file(tmp_path: Path) -> None:
    """It may be missing, unless it was asked for by name; what cannot be read is an error."""
    assert listed(None, asked=False) == listed(tmp_path / "nowhere", asked=False) == DEFAULT
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match="cannot read the file of hashes"):
            listed(path, asked=True)


def test_one_namespace_by_all_its_names() -> None:
    """Its name, its hash, the hash that an edited file gives it, and its name before, are of one place."""
    known = NamespaceCodes({b"11111111": "qrouter-1", OWN.encode(): "customer 7"}, "default")
    assert known.place("customer 7") == known.place(f"[{OWN}]") == known.place("qrouter-1")
    assert NamespaceCodes({b"11111111": "qrouter-1"}, "default").place("[11111111]") == int(OWN, 16)
    assert known.place("[22222222]") == 0x22222222 != known.place("qrouter-2")
    assert known.place(UNKNOWN_NETNS) is None


@given(st.binary(max_size=200) | st.from_regex(rb"([ab]{1,2} \[[01]{8}\]\n){1,6}", fullmatch=True))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever the file holds, nothing is raised, and a name is beside its hash in it."""
    file = tmp_path_factory.getbasetemp() / "any.hash"
    file.write_bytes(data)
    for key, name in listed(file, asked=True).items():
        assert {key: name} == DEFAULT or f"{name} [{key.decode()}]" in data.decode(errors="backslashreplace")
