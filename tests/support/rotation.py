"""A real logrotate, with the file of ours and a state of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from anetcon.config.logrotate import logrotate_text
from anetcon.config.model import Config
from tests.support.machine import PATH


def texts(folder: Path, name: str) -> list[str]:
    """Every line of a log and of what it was rotated to."""
    packed = [path for path in folder.glob(f"{name}*") if path.suffix == ".gz"]
    plain = [path.read_text() for path in folder.glob(f"{name}*") if path not in packed]
    plain += [subprocess.run(["zcat", path], capture_output=True, text=True, check=True).stdout for path in packed]
    return "".join(plain).splitlines()


class Rotation:
    """A logrotate with our file and a state of its own. `tell` stands for rsyslog's own script."""

    def __init__(self, folder: Path, config: Config, tell: str = "") -> None:
        script = folder / "rsyslog-rotate"
        script.write_text(f"#!/bin/sh\n{tell}\n")
        script.chmod(0o755)
        self._file, self._state = folder / "logrotate.conf", folder / "logrotate.state"
        self._file.write_text(logrotate_text(config, str(script)))
        assert "error" not in self._run("-d").stderr

    def _run(self, option: str) -> subprocess.CompletedProcess[str]:
        words = ["logrotate", option, "-s", str(self._state), str(self._file)]
        done = subprocess.run(words, env={"PATH": PATH}, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        return done

    def rotate(self) -> None:
        """Now."""
        self._run("-f")
