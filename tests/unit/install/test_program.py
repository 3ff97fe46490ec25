"""Where the program is."""

from __future__ import annotations

from pathlib import Path

import pytest

from anetcon.errors import AnetconError
from anetcon.install import program


def test_it_is_found_and_known() -> None:
    """The script beside this interpreter, the folders it needs, and the same fingerprint twice."""
    assert program.script().name == "anetcon"
    folders = program.folders()
    assert any(program.PACKAGE.resolve().is_relative_to(folder) for folder in folders)
    assert not [one for one in folders for other in folders if one != other and one.is_relative_to(other)]
    assert program.fingerprint() == program.fingerprint()


def test_what_does_not_last_is_refused() -> None:
    """The error names a place that does; home directories are only told."""
    program.require_lasting([Path("/opt/anetcon"), Path("/root/.local/venv")])
    for folder in ("/tmp/venv", "/var/tmp/x", "/run/user/0/x"):  # noqa: S108
        with pytest.raises(AnetconError, match=f"lies in {folder}, which does not last: .* /opt/anetcon"):
            program.require_lasting([Path(folder)])
    assert program.in_homes([Path("/opt/anetcon"), Path("/root/.local/venv")]) == ("/root/.local/venv",)
