"""Tries what the audit needs of the kernel, in a network namespace made for it and gone with this program.

`python -m anetcon.doctor.probe ENGINE...` prints one JSON object: for each feature an empty text, or why it does not
work. The kernel's version decides nothing: distributions bring features to older kernels, and leave some out. A
connection is made and deleted by netlink alone, without a packet, and its two events are read as the daemon reads them.

Like a start of the daemon it makes the kernel load conntrack and nf_tables where they are modules. Refuses to touch
the namespace it was started in: without one of its own it does nothing.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from anetcon.decode import oracle
from anetcon.link.engine_kinds import KINDS
from anetcon.netlink import conntrack, ct_sysctls, framing
from anetcon.netlink import headers as k
from anetcon.rules import invalid_sample, programs
from anetcon.system import syscalls as sc

OPTIONS = "activate_conntrack", "record_invalid"
"""Settings of `audit` that need more, as `--NAME` behind the engine."""

BUFFER = 2 << 20
PATIENCE = 2.0
NEW_GENERATION = k.NFNL_SUBSYS_NFTABLES << 8 | 16  # NFT_MSG_GETGEN
NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL = 0x4, 0x400, 0x200
UDP = 17
ACTIVATE = "table inet anetcon_probe {\n chain c {\n  ct state new\n }\n}\n"
LOGGING = (
    "table inet anetcon_probe {\n chain c {\n  type nat hook postrouting priority 99\n"
    '  ct state new ct status dnat log prefix "probe "\n }\n}\n'
)
XTABLES = "-t nat -A POSTROUTING -p tcp -m state --state NEW -m conntrack --ctstate DNAT -j LOG --log-prefix probe"


class FeatureMissingError(Exception):
    """A feature does not work: the message says how that showed."""


def features(engine: str, activates: bool, samples: bool = False) -> dict[str, Callable[[], None]]:
    """What an engine needs, each with what tries it."""
    needed: dict[str, Callable[[], None]] = {"setns": _setns, "SO_RCVBUFFORCE": _buffer}
    if KINDS[engine].events:
        needed |= {
            "ctnetlink": _ctnetlink,
            "conntrack sysctls": _sysctls,
            "NETLINK_NO_ENOBUFS": lambda: _option(sc.NETLINK_NO_ENOBUFS),
            "NETLINK_BROADCAST_ERROR": lambda: _option(sc.NETLINK_BROADCAST_ERROR),
            "SO_MEMINFO": _meminfo,
            "events": _events,
            "CTA_TIMESTAMP_EVENT": _event_time,
            "nf_tables": _nf_tables,
        }
    if engine == "nftables-log":
        needed |= {"nf_tables": _nf_tables, "nft log rules": lambda: _nft(LOGGING)}
    if engine == "iptables-log":
        needed |= {
            "iptables log rules": lambda: _iptables("iptables"),
            "ip6tables log rules": lambda: _iptables("ip6tables"),
        }
    if activates:
        needed["nft"] = lambda: _nft(ACTIVATE)
    if samples and KINDS[engine].events:
        needed["nft sample"] = _sample
    return needed


def _netlink() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, sc.NETLINK_NETFILTER)
    made.settimeout(PATIENCE)
    return made


def _setns() -> None:
    descriptor = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        sc.setns(descriptor, sc.CLONE_NEWNET)
    finally:
        os.close(descriptor)


def _buffer() -> None:
    with _netlink() as asking:
        asking.setsockopt(socket.SOL_SOCKET, sc.SO_RCVBUFFORCE, BUFFER)
        granted = asking.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        if granted < 2 * BUFFER:
            raise FeatureMissingError(f"of {BUFFER} bytes asked for only {granted // 2} were granted")


def _ctnetlink() -> None:
    with _netlink() as asking:
        conntrack.table(asking)


def _sysctls() -> None:
    ct_sysctls.switch_on(ct_sysctls.read_sysctls())
    left = {name: value for name, value in ct_sysctls.read_sysctls().items() if value != "1"}
    if left:
        raise FeatureMissingError(f"cannot be switched on: {', '.join(left)}")


def _option(number: int) -> None:
    with _netlink() as asking:
        asking.setsockopt(sc.SOL_NETLINK, number, 1)


def _meminfo() -> None:
    with _netlink() as asking:
        conntrack.queue(asking)


def _nf_tables() -> None:
    with _netlink() as asking:
        _ask(asking, NEW_GENERATION, k.NLM_F_REQUEST, b"")


def _events() -> None:
    start, end = _life()
    if start is None or end is None:
        raise FeatureMissingError(f"no event told of a connection's {'start' if start is None else 'end'}")
    if end.start is None or end.stop is None:
        raise FeatureMissingError("the end does not say when the connection started and ended")
    if end.sourced["packets_out"] is None:
        raise FeatureMissingError("the end does not say how many packets and bytes there were")


def _event_time() -> None:
    start, _ = _life()
    if start is None or start.happened is None:
        raise FeatureMissingError("a start does not say when it happened")


@functools.cache
def _life() -> tuple[oracle.Event | None, oracle.Event | None]:
    """The events of the start and the end of one connection that exists in the table only."""
    ct_sysctls.switch_on(ct_sysctls.read_sysctls())
    found: dict[int, oracle.Event] = {}
    with _netlink() as listening, _netlink() as asking:
        listening.bind((0, 1 << sc.NFNLGRP_CONNTRACK_NEW - 1 | 1 << sc.NFNLGRP_CONNTRACK_DESTROY - 1))
        tuples = _tuple(k.CTA_TUPLE_ORIG, 1, 2) + _tuple(k.CTA_TUPLE_REPLY, 2, 1)
        timeout = _attribute(k.CTA_TIMEOUT, struct.pack(">I", 60))
        _ask(asking, k.TYPE_NEW, k.NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, tuples + timeout)
        _ask(asking, k.TYPE_DESTROY, k.NLM_F_REQUEST | NLM_F_ACK, _tuple(k.CTA_TUPLE_ORIG, 1, 2))
        try:
            while len(found) < 2:
                message = listening.recv(8192)
                found[struct.unpack_from("=H", message, 4)[0]] = oracle.decode(message)
        except TimeoutError:
            pass
        except framing.Malformed as error:
            raise FeatureMissingError(f"an event cannot be read: {error}") from error
    return found.get(k.TYPE_NEW), found.get(k.TYPE_DESTROY)


def _tuple(kind: int, source: int, target: int) -> bytes:
    """192.0.2.source to 192.0.2.target, UDP, port 9 to port 9."""
    address = [_attribute(n, bytes([192, 0, 2, last])) for n, last in ((1, source), (2, target))]
    ports = [_attribute(n, struct.pack(">H", 9)) for n in (k.CTA_PROTO_SRC_PORT, k.CTA_PROTO_DST_PORT)]
    proto = [_attribute(k.CTA_PROTO_NUM, bytes([UDP])), *ports]
    parts = _nested(k.CTA_TUPLE_IP, b"".join(address)) + _nested(k.CTA_TUPLE_PROTO, b"".join(proto))
    return _nested(kind, parts)


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", k.NLA_HDRLEN + len(payload), kind) + payload + bytes(-len(payload) % 4)


def _nested(kind: int, payload: bytes) -> bytes:
    return _attribute(kind | 1 << 15, payload)


def _ask(asking: socket.socket, kind: int, flags: int, body: bytes) -> None:
    """One question; an answer that is an error is an OSError."""
    generic = struct.pack("=BBH", socket.AF_INET, k.NFNETLINK_V0, 0)
    asking.send(struct.pack("=IHHII", 20 + len(body), kind, flags, 1, 0) + generic + body)
    answer = asking.recv(8192)
    if struct.unpack_from("=H", answer, 4)[0] == k.NLMSG_ERROR:
        number = -struct.unpack_from("=i", answer, k.NLMSG_HDRLEN)[0]
        if number:
            raise OSError(number, os.strerror(number))


def _nft(rules: str) -> None:
    _run(["nft", "-f", "-"], rules)


def _sample() -> None:
    for family in invalid_sample.FAMILIES:
        _nft(invalid_sample.made(family).rules)
    invalid_sample.listen().close()


def _iptables(program: str) -> None:
    _run([program, *XTABLES.split()])


def _run(words: Sequence[str], text: str = "") -> None:
    program = programs.find(words[0])
    if program is None:
        raise FeatureMissingError(f"the program {words[0]} is not there")
    done = subprocess.run([program, *words[1:]], input=text, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise FeatureMissingError(f"{words[0]}: {' '.join(done.stderr.split())}")


def main(arguments: list[str]) -> int:
    """Try everything; the answer on stdout."""
    before = Path("/proc/thread-self/ns/net").stat().st_ino
    try:
        sc.unshare(sc.CLONE_NEWNET)
    except OSError as error:
        sys.stdout.write(json.dumps({"unshare": error.strerror}))
        return 1
    if Path("/proc/thread-self/ns/net").stat().st_ino == before:
        raise SystemExit("no namespace was made")
    found = {}
    for name, attempt in features(arguments[0], *(f"--{name}" in arguments for name in OPTIONS)).items():
        try:
            attempt()
            found[name] = ""
        except (OSError, FeatureMissingError, subprocess.SubprocessError) as error:
            found[name] = (getattr(error, "strerror", None) or str(error)) or type(error).__name__
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
