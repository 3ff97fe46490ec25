"""Capture's start, in process: what its clocks are compared with. What it records is tested with real namespaces."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from anetcon.capture import auditor
from anetcon.capture.clock import THRESHOLD
from anetcon.capture.settings import Settings
from anetcon.keeper.clock import now_us
from tests.unit.capture import parts
from tests.unit.capture.test_settings import RESOLVED


def test_a_start_that_takes_long_is_no_step_of_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is opened first, on a slow disk or a busy machine, takes time; that is no gap, and nothing is said of it."""
    said: list[str] = []

    def slow(_folder: Path) -> None:
        threading.Event().wait((THRESHOLD + 50_000) / 1e6)

    (tmp_path / "lock").touch()  # the store is there
    monkeypatch.setattr(auditor, "last_flush", slow)
    settings = Settings.of({**RESOLVED, "store": {**RESOLVED["store"], "path": str(tmp_path)}})  # type: ignore[dict-item]
    made = auditor.Auditor(settings, parts.shared(), now_us, said.append)
    assert made._now() >= made.started
    assert said == []
    made.journals.flush(made.pipeline.columns, [], made._now())
    assert [gap["cause"] for gap in parts.rows(tmp_path, "gaps")] == ["never-recorded"]
