"""The one door to the rooms that exist for the bash ANetCon alone, the program that this one replaces.

    config.old  reads its configuration
    legacy      finds it on this host, and takes its place
    history     imports its logs

Every other module reaches them through here, so that a version can be made without them: delete a room and its tests,
and the program goes on without what was in it. Refuses to know what a room does.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any


def has(room: str) -> bool:
    """Whether the room is part of this version. Importing is left to the caller."""
    try:
        return find_spec(f"anetcon.{room}") is not None
    except ModuleNotFoundError:  # nor is the folder around it
        return False


def module(name: str) -> Any:
    """A module of a room; None where the room was deleted."""
    return import_module(f"anetcon.{name}") if has(name) else None
