"""Options that commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.cli.options import STORE, configured_store
from anetcon.config import load


def test_the_store_that_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no folder is named it is the daemon's own: of its file, of its environment, else the standard one; a file
    that is being edited hinders no question, and that is said."""
    file = tmp_path / "anetcon.toml"
    monkeypatch.setattr(load, "STANDARD_FILES", (file,))
    assert configured_store() == STORE
    file.write_text('[store]\npath = "/srv/audit"\n')
    assert configured_store() == Path("/srv/audit")
    monkeypatch.setenv("ANETCON_STORE_PATH", "/srv/other")
    assert configured_store() == Path("/srv/other")
    monkeypatch.setenv("ANETCON_STORE", "/srv/named")
    assert configured_store() == Path("/srv/named")
    monkeypatch.delenv("ANETCON_STORE")
    assert capsys.readouterr().err == ""
    file.write_text("[store\n")
    assert configured_store() == STORE
    said = capsys.readouterr().err
    assert said.startswith(f"{file}:1: ")
    assert said.endswith(f"; looking in {STORE}, or name a folder with --store\n")
