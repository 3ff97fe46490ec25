"""From events to journal rows, without a kernel."""

from __future__ import annotations

import socket
from pathlib import Path

from anetcon.capture.addresses import mapped
from anetcon.capture.settings import network
from anetcon.link import counters
from anetcon.record import Family
from tests.support.capture_parts import (
    INSIDE,
    NOW,
    OUTSIDE,
    PUBLIC,
    at,
    events,
    message,
    namespace,
    pipeline,
    rows,
    shared,
)


def test_events_become_rows(tmp_path: Path) -> None:
    """A start and an end come out whole: names, translation, class, counters, reason; and are counted."""
    memory = shared()
    pipe = pipeline(tmp_path, memory)
    space, _, _ = namespace(slot=3)
    pipe.add(space)
    pipe.take(events(message(1, happened=NOW * 1000), message(1, destroy=True, tcp_state=8), b"\x20junk"), at(NOW))
    pipe.flush(at(NOW + 1))
    start, end = sorted(rows(tmp_path), key=lambda row: row["end"] is not None)
    assert (start["netns"], start["node"], start["class"], start["origin"]) == ("qrouter-1", "n", "nat", "event")
    assert (start["end"], start["end_reason"], start["packets_out"]) == (None, None, None)
    assert (end["end_reason"], end["bytes_out"], end["packets_in"]) == ("reset", 60, 1)
    assert (end["src_ip"], end["nat_src_ip"]) == (mapped(INSIDE), mapped(PUBLIC))
    assert end["nat_dst_ip"] == end["dst_ip"] == mapped(OUTSIDE)
    assert end["netns_inode"] == space.inode
    counted = counters.slot(memory, 3)
    assert {name: counted[name] for name in ("events", "starts", "ends", "undecodable")} == {
        "events": 3,
        "starts": 1,
        "ends": 1,
        "undecodable": 1,
    }
    gap = rows(tmp_path, "gaps")[0]
    assert (gap["cause"], gap["netns"], gap["lost"]) == ("undecodable", "qrouter-1", 1)


def test_what_comes_while_sockets_are_drained_is_inside_its_gap(tmp_path: Path) -> None:
    """A flush has the time before them, for up to then all is recorded; what could not be decoded may be younger."""
    pipe = pipeline(tmp_path, late=NOW + 9)
    pipe.add(namespace()[0])
    pipe.take(events(b"\x20junk"), at(NOW))
    pipe.flush(at(NOW + 1))
    assert [round(gap["to"].timestamp() * 1e6) for gap in rows(tmp_path, "gaps")] == [NOW + 9]


def test_sockets_are_drained_over_the_slots(tmp_path: Path) -> None:
    """More events than there are slots are all taken."""
    pipe = pipeline(tmp_path)
    space, far, _ = namespace()
    pipe.add(space)
    pipe._slots = type(pipe._slots)(8)
    for port in range(50):
        far.send(message(port))
    assert pipe.drain(space, at(NOW)) == 50
    assert pipe.waiting()
    pipe.flush(at(NOW))
    assert {row["src_port"] for row in rows(tmp_path)} == set(range(50))
    assert not pipe.waiting()


def test_what_another_program_sends_is_no_record(tmp_path: Path) -> None:
    """However well it is formed it is counted as undecodable, and what the kernel tells beside it is on record."""
    memory = shared()
    pipe = pipeline(tmp_path, memory)
    space, far, _ = namespace()
    pipe.add(space)
    pair = [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_USERSOCK) for _ in range(2)]
    with pair[0] as ours, pair[1] as other:
        ours.bind((0, 0))
        far.send(message(1))
        pipe.drain(space, at(NOW))
        kernels, space.descriptor = space.descriptor, ours.fileno()
        for port in (2, 3):
            other.sendto(message(port, destroy=True), ours.getsockname())
        pipe.drain(space, at(NOW))
        space.descriptor = kernels
        far.send(message(4))
        pipe.drain(space, at(NOW))
    pipe.flush(at(NOW))
    assert [row["src_port"] for row in rows(tmp_path)] == [1, 4]
    assert counters.slot(memory, 0)["undecodable"] == 2
    assert [(gap["cause"], gap["lost"]) for gap in rows(tmp_path, "gaps")] == [("undecodable", 2)]


def test_what_is_not_wanted_is_counted(tmp_path: Path) -> None:
    """Protocols and networks leave connections out, and the counter says how many."""
    memory = shared()
    pipe = pipeline(tmp_path, memory, {6}, {"qrouter-1": [network("10.9.0.0/16")]})
    space, _, _ = namespace()
    other, _, _ = namespace("qrouter-2", 1)
    pipe.add(space)
    pipe.add(other)
    pipe.take(events(message(1), message(2, proto=17)), at(NOW))
    pipe.take(events(message(3), message(4, proto=17), code=1), at(NOW))
    pipe.flush(at(NOW))
    assert [row["src_port"] for row in rows(tmp_path)] == [3]
    assert [counters.slot(memory, slot)["filtered"] for slot in (0, 1)] == [2, 1]


def test_codes_are_used_again_only_when_nothing_waits(tmp_path: Path) -> None:
    """After many namespaces came and went the codes start over, and rows keep their own namespace's name."""
    pipe = pipeline(tmp_path)
    for number in range(200):
        space, _, _ = namespace(f"qrouter-{number}")
        pipe.add(space)
        pipe.take(events(message(number), code=pipe.codes[space]), at(NOW))
        pipe.remove(space)
    last, _, _ = namespace("qrouter-last")
    pipe.add(last)
    pipe.flush(at(NOW))
    assert pipe.codes[last] == 0
    pipe.take(events(message(1000), code=pipe.codes[last]), at(NOW))
    pipe.flush(at(NOW))
    names = {row["src_port"]: row["netns"] for row in rows(tmp_path)}
    assert names == {number: f"qrouter-{number}" for number in range(200)} | {1000: "qrouter-last"}


def test_a_destination_of_the_namespace_itself_is_local(tmp_path: Path) -> None:
    """The namespace's own addresses, once known, make connections to them `local`."""
    pipe = pipeline(tmp_path)
    space, _, _ = namespace()
    pipe.add(space)
    pipe.own.set(pipe.codes[space], [(Family.IPV4, mapped(OUTSIDE) or b"")])
    pipe.take(events(message(1)), at(NOW))
    pipe.flush(at(NOW))
    assert rows(tmp_path)[0]["class"] == "local"
