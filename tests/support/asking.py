"""The program called in process, and what it answered."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from anetcon.cli.main import app

RUNNER = CliRunner()


class Answer:
    """What one call printed, and its exit status. Anything but an answer in good order is a failure."""

    def __init__(self, *words: str | Path) -> None:
        before = os.umask(0o022)
        try:
            result = RUNNER.invoke(app, [str(word) for word in words])
        finally:
            os.umask(before)  # some commands set it, for the process they are
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.status = result.exit_code
        self.out = result.stdout
        self.err = result.stderr

    @property
    def json(self) -> dict[str, Any]:
        """The answer as JSON."""
        answer: dict[str, Any] = json.loads(self.out)
        return answer

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The answer as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True
