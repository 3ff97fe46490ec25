"""Tests that belong to a room of the bash ANetCon: in a version without it they are skipped."""

from __future__ import annotations

import pytest

from anetcon import bash


def belongs_to(room: str) -> pytest.MarkDecorator:
    """The mark of a test that needs this room."""
    return pytest.mark.skipif(not bash.has(room), reason=f"this version has no {room.replace('.', '/')}/")
