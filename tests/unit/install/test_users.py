"""The user that the daemon runs as, in a tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.install import users
from anetcon.install.tree import Tree


@pytest.mark.parametrize(
    ("passwd", "goes"), [("anetcon:x:997:4::/:\n", True), ("anetcon:x:1001:4::/:\n", False), ("", False)]
)
def test_only_a_system_user_is_taken_away(tmp_path: Path, passwd: str, goes: bool) -> None:
    """An account of that name, made by somebody for a person, stays."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n" + passwd)
    tree = Tree(tmp_path)
    tree.privileged = True
    assert users.there(tree) == (["anetcon"] if goes else [])
