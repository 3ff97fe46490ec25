"""Settings out of the resolved configuration."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from anetcon.config.model import Config
from anetcon.follow.settings import Settings


@pytest.mark.parametrize(
    ("listed", "hashed", "file"),
    [
        (None, True, Path("/var/lib/anetcon/namespace.hash")),
        ("", True, None),
        ("/x/list", True, Path("/x/list")),
        ("/x/list", False, None),
    ],
)
def test_settings_are_the_configurations(listed: str | None, hashed: bool, file: Path | None) -> None:
    """Every field has its place in the configuration; the list of namespaces is in the store, elsewhere, or nowhere."""
    resolved = msgspec.to_builtins(Config(node="gw1"))
    resolved["logs"] |= {"namespace_hash_file": listed, "namespace_hash": hashed}
    assert Settings.of(resolved) == Settings(
        store=Path("/var/lib/anetcon"), node="gw1", namespace_hash=hashed, hash_file=file
    )
