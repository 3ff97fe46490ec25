"""The tree is RFC 6962's, and its proofs hold for what they are of and for nothing else."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.proof.merkle import EMPTY, HashTree, Range, continues, includes

KNOWN = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
KNOWN.append(bytes(range(0x60, 0x70)))
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""The vectors that implementations of RFC 6962 test with (certificate-transparency's merkle_tree_test)."""

lines = st.lists(st.binary(max_size=8), min_size=1, max_size=70, unique=True)


def naive(given: list[bytes]) -> bytes:
    """The root as the text of RFC 6962 defines it."""
    if not given:
        return hashlib.sha256().digest()
    if len(given) == 1:
        return hashlib.sha256(b"\0" + given[0]).digest()
    left = 1
    while left * 2 < len(given):
        left *= 2
    return hashlib.sha256(b"\1" + naive(given[:left]) + naive(given[left:])).digest()


def test_the_known_roots() -> None:
    """Those of RFC 6962's known lines."""
    appended = Range()
    assert appended.root() == EMPTY == naive([])
    for size, root in enumerate(ROOTS, 1):
        appended.append(KNOWN[size - 1])
        assert appended.root().hex() == HashTree(KNOWN).root(size).hex() == root


def test_the_known_proofs() -> None:
    """Those of the same tests: of the sixth line of eight, and from six lines to eight."""
    tree = HashTree(KNOWN)
    assert [each.hex() for each in tree.inclusion(5, 8)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert [each.hex() for each in tree.consistency(6, 8)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(lines)
def test_roots_are_those_of_the_definition(given: list[bytes]) -> None:
    """At every size, appended or all at once."""
    tree, appended = HashTree(given), Range()
    for size, line in enumerate(given, 1):
        appended.append(line)
        assert (appended.size, appended.root()) == (size, naive(given[:size]))
        assert tree.root(size) == naive(given[:size])


@given(lines, st.data())
def test_a_proof_of_a_line_holds_for_it_alone(given: list[bytes], data: st.DataObject) -> None:
    """Not for another line, place, size or root, nor with a hash changed, more or less."""
    size = data.draw(st.integers(1, len(given)))
    index = data.draw(st.integers(0, size - 1))
    proof, root = HashTree(given).inclusion(index, size), naive(given[:size])
    assert includes(root, size, index, given[index], proof)
    assert not includes(root, size, index, given[index] + b"!", proof)
    assert not includes(EMPTY, size, index, given[index], proof)
    assert not includes(root, size, index, given[index], [*proof, root])
    assert not includes(root, size, size, given[index], proof)
    if proof:
        assert not includes(root, size, index, given[index], proof[1:])
        at = data.draw(st.integers(0, len(proof) - 1))
        assert not includes(root, size, index, given[index], [*proof[:at], EMPTY, *proof[at + 1 :]])
        assert not includes(root, size, index ^ 1, given[index], proof)


@given(lines, st.data())
def test_a_proof_of_going_on_holds_for_these_two_trees_alone(given: list[bytes], data: st.DataObject) -> None:
    """Not where a line before was changed, nor with a hash changed, more or less."""
    size = data.draw(st.integers(1, len(given)))
    old = data.draw(st.integers(1, size))
    proof = HashTree(given).consistency(old, size)
    before, after = (old, naive(given[:old])), (size, naive(given[:size]))
    assert continues(before, after, proof)
    at = data.draw(st.integers(0, old - 1))
    changed = [*given[:at], given[at] + b"!", *given[at + 1 :]]
    assert not continues((old, naive(changed[:old])), after, proof)
    assert not continues(before, (size, naive(changed[:size])), HashTree(changed).consistency(old, size))
    assert not continues(before, after, [*proof, EMPTY])
    if proof:
        assert not continues(before, after, proof[:-1])


def test_nothing_goes_on_from_a_larger_tree() -> None:
    """A log that became shorter was rolled back."""
    tree = HashTree(KNOWN)
    assert not continues((8, tree.root(8)), (6, tree.root(6)), tree.consistency(6, 8))
    assert not continues((0, EMPTY), (6, tree.root(6)), [])
    for index, size in ((8, 8), (0, 9), (-1, 3)):
        with pytest.raises(ValueError, match="no line"):
            tree.inclusion(index, size)
    for old, size in ((0, 8), (7, 6), (3, 9)):
        with pytest.raises(ValueError, match="no tree"):
            tree.consistency(old, size)
