"""An engine of the tests: a line of text in a pipe is a connection that has ended. `install` has every Python process
that is started from now on know it; nothing else of the program is changed.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import numpy as np
import pytest

from anetcon.capture.addresses import mapped
from anetcon.capture.engine.base import Engine
from anetcon.capture.namespace import Namespace
from anetcon.capture.recording import Recording
from anetcon.decode.columns import Columns
from anetcon.record import EndReason, Family, Origin
from anetcon.system.clock import Moment

NAME, PIPE = "pipe", "ANETCON_TEST_PIPE"
REGISTER = f"""\
from anetcon.link.engine_kinds import KINDS, Kind

KINDS["{NAME}"] = Kind("{__name__}:PipeEngine")
"""
ROOT = Path(__file__).parents[2]


def install(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """The pipe that it reads."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(REGISTER)
    pipe = folder / "connections"
    os.mkfifo(pipe)
    patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))
    patch.setenv(PIPE, str(pipe))
    return pipe


class PipeEngine(Engine):
    """A line is `SOURCE PORT DESTINATION PORT`. All of them are of the namespace that was attached last."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._pipe = os.open(os.environ[PIPE], os.O_RDWR | os.O_NONBLOCK)  # a writer that goes is not the end
        self._namespaces: list[Namespace] = []

    def attach(self, namespace: Namespace, now: Moment, *, known: bool) -> None:  # noqa: ARG002 - as every engine
        """Take lines as soon as it is known whose they are."""
        if not self._namespaces:
            self.recording.poll.watch(self._pipe, self._read)
        self._namespaces.append(namespace)

    def _read(self, now: Moment) -> None:
        found = os.read(self._pipe, 4096).split(b"\n")[:-1]
        out = Columns(len(found))
        out.rows = len(found)
        for row, line in enumerate(found):
            source, from_port, destination, to_port = line.decode().split()
            for side, address, port in (("src", source, from_port), ("dst", destination, to_port)):
                octets = np.frombuffer(mapped(ipaddress.ip_address(address).packed) or b"", np.uint8)
                for name in (side, f"nat_{side}"):
                    out.of[f"{name}_ip"][row], out.of[f"{name}_port"][row] = octets, int(port)
        fixed = {
            "netns": self.recording.pipeline.codes[self._namespaces[-1]],
            "family": Family.IPV4,
            "proto": 6,
            "start": now.wall,
            "end": now.wall,
            "origin": Origin.EVENT,
            "end_reason": EndReason.UNKNOWN,
        }
        for name, value in fixed.items():
            out.of[name][:] = value
        self.recording.pipeline.append(out, now)
