"""`anetcon demo`: a router of its own in network namespaces, real connections through it, and a real answer.

Nothing is pretended: the daemon is the real one, on a temporary store; the far side's own sockets say what the right
answer is, and the exit status whether it was given. Needs root, touches nothing of the machine, leaves nothing.

With `--keep` all of it is done by a process that goes on when this one has ended: it makes a connection every second,
and removes everything when it is ended itself, or when the daemon is.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from anetcon import protocols
from anetcon.cli.people import say, warn
from anetcon.testbed import traffic
from anetcon.testbed.bed import Testbed, router_name, sweep
from anetcon.testbed.daemon import Daemon
from anetcon.testbed.topology import SERVER, SERVER6, Router, World
from anetcon.testbed.traffic import Made, Server

HTTPS, DNS, SSH = 443, 53, 22
WRONG = 1
EVERY = 1.0
"""Seconds between two connections while it is kept."""
FOUND_WITHIN = 5.0
"""Seconds after which a connection must be found."""
FIELDS = (
    *("src_ip", "src_port", "dst_ip", "dst_port"),
    *("nat_src_ip", "nat_src_port", "nat_dst_ip", "nat_dst_port"),
)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the router, its traffic and the daemon running.")] = False,
) -> None:
    """Build a router in namespaces, make connections, ask about one."""
    told = _in_background() if keep else 0
    began = time.monotonic()
    with ExitStack() as stack:
        bed = stack.enter_context(Testbed())
        sweep()
        folder = Path(tempfile.mkdtemp(prefix="anetcon-demo-"))
        folder.chmod(0o755)  # the part that writes the logs has no privileges
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        name = router_name()
        daemon = stack.enter_context(Daemon(folder, [name]))
        _say("daemon", f"anetcon run -c {daemon.settings}")
        router = _build(bed, name)
        made = _connect(router)
        wrong = _answer(daemon, made)
        if keep:
            _keep(daemon, router)
            _done(began, wrong, "everything goes on")
            _go_on(daemon, router, told, WRONG if wrong else 0)
            return
    _done(began, wrong, "everything removed")
    if wrong:
        raise typer.Exit(WRONG)


def _done(began: float, wrong: str, left: str) -> None:
    _say("done", f"in {time.monotonic() - began:.1f} s, {left}")
    if wrong:
        warn(f"anetcon: the demo found a wrong answer: {wrong}")


def _say(step: str, text: str) -> None:
    say(f"{step:9} {text}")


def _build(bed: Testbed, name: str) -> Router:
    router = Router(World(bed), floating=[1], name=name)
    one, other = (instance.address for instance in router.instances)
    _say("router", f"{name}, public address {router.snat}")
    _say("instances", f"{one}, and {other} with floating IP {router.floating_ips[other]}")
    return router


def _connect(router: Router) -> list[Made]:
    """Connections of every kind; the first is the one the report will be about."""
    world = router.world.namespace
    one, other = router.instances
    public = router.floating_ips[other.address]
    with (
        Server(world, SERVER, HTTPS) as web,
        Server(world, SERVER, DNS) as names,
        Server(world, SERVER6, HTTPS) as web6,
        Server(other.namespace, other.address, SSH) as shell,
    ):
        made = [
            traffic.tcp(one.namespace, one.address, (SERVER, HTTPS), web),
            traffic.tcp(other.namespace, other.address, (SERVER, HTTPS), web),
            traffic.tcp(world, SERVER, (public, SSH), shell),
            traffic.tcp(one.namespace, one.address, (public, SSH), shell),
            traffic.udp(one.namespace, one.address, (SERVER, DNS), names),
            traffic.ping(one.namespace, one.address, SERVER, world, SERVER),
            traffic.tcp(one.namespace, one.address6, (SERVER6, HTTPS), web6),
        ]
    for each in made:
        _say("made", _line(each))
    return made


def _line(made: Made) -> str:
    """A connection as the two sides saw it."""
    name = protocols.name(made.proto)
    number = "id" if name.startswith("icmp") else ""
    source, seen = _end(made.src_ip, made.src_port, number), _end(made.nat_src_ip, made.nat_src_port, number)
    target, reached = (made.dst_ip, made.nat_dst_ip) if number else (_target(made))
    there = "" if reached == target else f", arrived at {reached}"
    return f"{name:6} {source} -> {target}, seen there as {seen}{there}"


def _target(made: Made) -> tuple[str, str]:
    return _end(made.dst_ip, made.dst_port), _end(made.nat_dst_ip, made.nat_dst_port)


def _end(address: str, port: int, number: str = "") -> str:
    if number:
        return f"{address} {number} {port}"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _answer(daemon: Daemon, made: Sequence[Made]) -> str:
    """Ask about the first connection as a stranger would, and about all of them to be sure; what is wrong, if any."""
    picked = made[0]
    moment = datetime.fromtimestamp(picked.began / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    public, victim = _end(picked.nat_src_ip, picked.nat_src_port), _end(picked.dst_ip, picked.dst_port)
    _say("report", f'"{picked.nat_src_ip} port {picked.nat_src_port} attacked {victim} at {moment}"')
    question = [public, "--at", moment, "--to", victim]
    missing = _until_recorded(daemon, made)
    if missing:
        return f"not recorded: {_line(missing[0])}"
    say("", f"$ anetcon who {' '.join(question)}")
    say(*daemon.ask("who", *question).stdout.split("\n"))
    say("$ anetcon status")
    say(*daemon.ask("status").stdout.split("\n"))
    said = daemon.ask("who", *question, "--format", "json")
    answer = json.loads(said.stdout) if said.returncode == 0 else {}
    if answer.get("verdict") != "one" or not _same(answer["connections"][0], picked):
        said_so = answer.get("verdict") or (said.stderr.splitlines() or ["nothing"])[-1]
        return f"`who` said {said_so!r}, it was {picked.src_ip}"
    _say(
        "right", f"it was {picked.src_ip}, as the server's own socket proves; all {len(made)} connections are recorded"
    )
    return ""


def _until_recorded(daemon: Daemon, made: Sequence[Made]) -> list[Made]:
    """Wait until every connection is found as both sides saw it; those that are not."""

    def missing() -> list[Made]:
        said = daemon.ask("search", "--limit", "0", "--format", "json")
        found = json.loads(said.stdout)["connections"] if said.stdout else []
        return [each for each in made if not any(_same(record, each) for record in found)]

    deadline = time.monotonic() + FOUND_WITHIN
    while (left := missing()) and time.monotonic() < deadline:
        pass  # each question takes a good part of a second
    return left


def _same(record: dict[str, Any], made: Made) -> bool:
    proto = protocols.name(made.proto)
    return record["proto"] == proto and all(record[name] == getattr(made, name) for name in FIELDS)


def _keep(daemon: Daemon, router: Router) -> None:
    """Tell what there is, and how to remove it."""
    _say("kept", f"daemon {daemon.process.pid}, store {daemon.store}, router {router.name}")
    _say("look", f"anetcon follow --store {daemon.store}")
    _say("remove", f"kill {os.getpid()}    # ends the daemon and removes all of it, within seconds")


def _in_background() -> int:
    """Go on as another process, which outlives this one; this one ends when the other has said all, with the status
    that it writes into the descriptor."""
    told, tells = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(told)
        os.setsid()  # Ctrl-C is for the process that it was typed to
        return tells
    os.close(tells)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        status = os.read(told, 1)
    except BaseException:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        raise
    os._exit(status[0] if status else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _go_on(daemon: Daemon, router: Router, told: int, status: int) -> None:
    """Make a connection every second until this process, or the daemon, is told to end."""
    sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    os.write(told, bytes([status]))
    os.close(told)
    one, world = router.instances[0], router.world.namespace
    with Server(world, SERVER, HTTPS) as web:
        while daemon.process.poll() is None:
            traffic.tcp(one.namespace, one.address, (SERVER, HTTPS), web)
            with suppress(subprocess.TimeoutExpired):
                daemon.process.wait(EVERY)
