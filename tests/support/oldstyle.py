"""A stand-in for an installation of the bash ANetCon, put into a booted Debian: tests/data/bash-anetcon.

The kernel prints what LOG rules say for the machine's first network namespace to switch on, so its script, and the
daemon after it, are started in that one; the namespaces they audit are the machine's own, by their names.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from anetcon.testbed.bed import command, owner, remove
from tests.load import kernel
from tests.support.booted import Booted, booted

DATA = Path(__file__).parents[1] / "data" / "bash-anetcon"
CONFIGURATION = """\
NAMESPACES=( "^{name}$" )
PERIOD={period}
LOGFILE=/var/log/anetcon/anetcon.log
"""
LINE = (
    "Nov 20 13:05:09 booted kernel: [  812.345678] [ANETCON]{part}[0123abcd] IN= OUT=qg-1 SRC=10.1.0.5 "
    "DST=198.51.100.9 LEN=60 PROTO=TCP SPT=40213 DPT=443\n"
)


@contextlib.contextmanager
def machine() -> Iterator[Booted]:
    """A booted Debian whose unit `anetcon` runs in the machine's first network namespace, with the kernel's lines."""
    first = f"anet{owner()}-first"
    with kernel.log_all_netns(), contextlib.ExitStack() as stack:
        command(["ip", "netns", "attach", first, str(os.getpid())])
        stack.callback(remove, first)
        made = stack.enter_context(booted(netns=True))
        folder = made.root / "run/systemd/system/anetcon.service.d"
        folder.mkdir(parents=True)
        (folder / "10-tests.conf").write_text(f"[Service]\nNetworkNamespacePath=/run/netns/{first}\n")
        yield made


def install(machine: Booted, name: str, *, period: int = 30, older: bool = False, user: str = "") -> None:
    """Its files, by hand, as its readme has it; its logs have a line each from before. `user`: whom rsyslog becomes."""
    root = machine.root
    shutil.copytree(DATA / "etc", root / "etc", dirs_exist_ok=True)
    shutil.copytree(DATA / "usr", root / "usr", dirs_exist_ok=True)
    if older:
        script = root / "usr/sbin/anetcon.sh"
        script.write_text(script.read_text().replace("OLDER=''", "OLDER=true"))
        snippet = root / "etc/rsyslog.d/30-anetcon.conf"
        snippet.write_text(snippet.read_text().replace("][X]", "] [NAT]").replace("][D]", "] [FLOAT]"))
    (root / "etc/anetcon.conf").write_text(CONFIGURATION.format(name=name, period=period))
    for folder in ("var/log/anetcon", "var/lib/anetcon"):
        (root / folder).mkdir(parents=True)
    for log, part in (("nat", "[X]"), ("float", "[D]")):
        (root / f"var/log/anetcon/anetcon.{log}.log").write_text(LINE.format(part=part))
    if user:
        machine.run("useradd", "--system", "--groups=adm", user)
        with (root / "etc/rsyslog.conf").open("a") as settings:
            settings.write(f"$PrivDropToUser {user}\n")
        for log in ("kern.log", "syslog"):
            (root / "var/log" / log).touch()
            machine.run("chown", f"{user}:adm", f"/var/log/{log}")
    machine.run("chown", "-R", f"{user or 'root'}:adm", "/var/log/anetcon")
    (root / "var/lib/anetcon/namespace.hash").write_text("qrouter-that-is-gone [0123abcd]\n")
    machine.run("systemctl", "restart", "rsyslog")


def files(machine: Booted) -> list[Path]:
    """What of them a takeover may touch, as seen from outside."""
    names = ("systemd/system/anetcon.service", "rsyslog.d/30-anetcon.conf", "logrotate.d/anetcon", "anetcon.conf")
    return [machine.root / "etc" / name for name in names]
