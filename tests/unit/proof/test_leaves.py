"""The manifest as a log: its committed lines and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.errors import StoreError
from anetcon.proof import leaves
from anetcon.proof.merkle import EMPTY, HashTree
from anetcon.store import layout, manifest
from tests.support.stores import sealed


def test_roots_over_committed_lines(tmp_path: Path) -> None:
    """At each size that is asked for; what is behind the last commit does not count; new files are those that stay."""
    store = sealed(tmp_path / "store")
    path = layout.manifest_path(store)
    lines = path.read_bytes().splitlines(keepends=True)
    tree, first = HashTree(lines), len(lines) // 2
    found = leaves.read(store, [first, 3])
    assert (found.size, found.root) == (len(lines), tree.root(len(lines)))
    assert found.roots == {0: EMPTY, 3: tree.root(3), first: tree.root(first)}
    state = manifest.replay(store)
    assert set(leaves.read(store, []).new) == state.files()
    assert set(found.new) < state.files()
    behind = b'{"prev":"%s","kind":"open","seal":1}\n' % state.head.encode()
    for left in (b'{"prev"', behind, b"\0" * 9 + b"\n"):
        path.write_bytes(b"".join(lines) + left)
        assert leaves.read(store, [3]) == leaves.read(store, [3])._replace(size=found.size, root=found.root)
    path.write_bytes(b"".join(lines).replace(b'"rows":', b'"rows": ', 1))
    with pytest.raises(StoreError, match="line 2 was changed, or the one before it"):
        leaves.read(store, [])


def test_no_manifest(tmp_path: Path) -> None:
    """A store in which nothing was sealed has no lines."""
    assert leaves.read(tmp_path, [])[:2] == (0, EMPTY)


def test_gaps_have_a_digest(tmp_path: Path) -> None:
    """It changes when the file of gaps does, and only then."""
    store = sealed(tmp_path / "store", seals=1)
    first = leaves.read(store, []).gaps
    assert leaves.read(store, []).gaps == first
    assert leaves.read(sealed(tmp_path / "other", seals=2), []).gaps != first
