"""Closes what the parts opened, and listens to what is reported."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from anetcon.system.report import reporter
from tests.support import capture_parts as parts


@pytest.fixture(autouse=True)
def _sockets() -> Iterator[None]:
    yield
    while parts.SOCKETS:
        parts.SOCKETS.pop().close()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines to the daemon's own log, as they come."""
    lines: list[str] = []

    def take(content: bytes) -> bool:
        lines.append(content.decode().removeprefix(f"{reporter.name}: ").removesuffix("\n"))
        return True

    monkeypatch.setattr(reporter, "_say", take)
    return lines
