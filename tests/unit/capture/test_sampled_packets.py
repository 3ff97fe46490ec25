"""Packets that are invalid become rows, each for itself."""

from __future__ import annotations

import socket
from pathlib import Path

from anetcon.capture import sampled_packets
from anetcon.capture.pipeline import tracked
from anetcon.capture.repeats import repeated
from anetcon.decode.nflog import AF_INET, AF_INET6
from anetcon.link import counters
from anetcon.record import Origin, label
from tests.support.capture_parts import NOW, SOCKETS, at, namespace, pipeline, rows, shared
from tests.support.nflog_messages import PORTS, four, message, six


def test_each_is_a_row(tmp_path: Path) -> None:
    """Untranslated, over as soon as it is there, and counted as no connection; what cannot be read is a gap."""
    memory = shared()
    line = pipeline(tmp_path, memory)
    space, *_ = namespace()
    line.add(space)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    SOCKETS.extend((near, far))
    sampled_packets.read(near, space, line, at(NOW))
    far.send(message(AF_INET, four(6, PORTS), mark=7) * 10 + message(AF_INET6, six(17, PORTS)))
    far.send(message(AF_INET, b"?"))
    sampled_packets.read(near, space, line, at(NOW))
    assert repeated(line.columns) == {}
    assert tracked(line.columns) == {}
    line.flush(at(NOW + 1))
    line.journals.close()
    found = rows(tmp_path)
    assert len(found) == 11
    for row in found:
        assert (row["origin"], row["class"], row["netns"]) == (label(Origin.PACKET), "nat", space.netns)
        assert row["start"] == row["end"]
        assert [row[f"nat_{side}_{part}"] for side in ("src", "dst") for part in ("ip", "port")] == [
            row[f"{side}_{part}"] for side in ("src", "dst") for part in ("ip", "port")
        ]
        assert (row["packets_out"], row["bytes_out"], row["packets_in"], row["reply"]) == (1, 100, 0, "none")
    assert [(row["family"], row["proto"], row["mark"]) for row in found[9:]] == [("ipv4", 6, 7), ("ipv6", 17, 0)]
    assert not any(counters.slot(memory, space.slot)[name] for name in ("events", "starts", "ends"))
    (gap,) = rows(tmp_path, "gaps")
    assert (gap["cause"], gap["lost"]) == ("undecodable", 1)


def test_what_is_left_out(tmp_path: Path) -> None:
    """The configured protocols hold for packets, too."""
    line = pipeline(tmp_path, protocols={17})
    space, *_ = namespace()
    line.add(space)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    SOCKETS.extend((near, far))
    far.send(message(AF_INET, four(6, PORTS)) + message(AF_INET, four(17, PORTS)))
    sampled_packets.read(near, space, line, at(NOW))
    line.flush(at(NOW + 1))
    line.journals.close()
    assert [row["proto"] for row in rows(tmp_path)] == [17]
