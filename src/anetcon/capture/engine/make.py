"""The engine that is configured: the table of `link.engine_kinds` has the class of each."""

from __future__ import annotations

import importlib

from anetcon.capture.engine.base import Engine
from anetcon.capture.recording import Recording
from anetcon.link.engine_kinds import KINDS


def make(recording: Recording) -> Engine:
    """An object of its class."""
    module, _, name = KINDS[recording.settings.engine].made_by.partition(":")
    made: Engine = getattr(importlib.import_module(module), name)(recording)
    return made
