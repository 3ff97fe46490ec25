"""One installation at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.errors import AnetconError
from anetcon.install.one_at_a_time import alone


@pytest.mark.parametrize("root", ["/", "tree"])
def test_the_second_is_refused(tmp_path: Path, root: str) -> None:
    """While the first works; afterwards it may. A tree that is not there is said by others."""
    lock, tree = tmp_path / "lock", tmp_path / root
    for _ in range(2):
        tree.mkdir(exist_ok=True)
        with alone(tree, lock), pytest.raises(AnetconError, match="wait until it is done"), alone(tree, lock):
            pytest.fail("two at once")
    with alone(tmp_path / "none", lock):
        pass
