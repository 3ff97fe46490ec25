"""The host around the audit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anetcon.doctor import host_resources
from anetcon.doctor.finding import Severity
from tests.support.doctor_parts import KEEPER, ill, machine, one, root_with, without_daemon

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:30 / /run rw,nosuid - tmpfs tmpfs rw
41 40 0:31 / /run/netns rw master:7 - tmpfs tmpfs rw
50 27 0:40 / /srv/a\\040b ro - nfs4 server:/x rw
"""


def test_memory(tmp_path: Path) -> None:
    """Buffers that could take over a quarter of the memory are too large; the setting named is small enough."""
    root = root_with(tmp_path, {"proc/meminfo": "MemTotal: 4194304 kB\nMemAvailable: 3000000 kB\n"})
    assert ill(host_resources.memory(machine(root), 200)) == []
    found = one(host_resources.memory(machine(root, audit__buffers_total_bytes=4 << 30), 2000))
    assert "buffers_total_bytes = 536870912" in found.remedy
    assert ill(host_resources.memory(machine(root, audit__buffers_total_bytes=536870912), 2000)) == []
    assert list(host_resources.memory(machine(tmp_path / "none"), 1)) == []


def test_processors(tmp_path: Path) -> None:
    """A load far above the number of processors is a note."""
    assert ill(host_resources.processors(machine(root_with(tmp_path, {"proc/loadavg": "0.10 0.2 0.3 1/2 3\n"})))) == []
    assert (
        one(host_resources.processors(machine(root_with(tmp_path, {"proc/loadavg": "99999 1 1 1/2 3\n"})))).severity
        == "note"
    )


def test_containers(tmp_path: Path) -> None:
    """A pid or network namespace of one's own is told; for `default` and for LOG engines the latter is grave."""
    conntrack = {"proc/sys/net/netfilter/nf_conntrack_max": "1"}
    inner = root_with(tmp_path / "inner", conntrack)
    outer = root_with(tmp_path / "outer", conntrack | {"proc/sys/net/netfilter/nf_log_all_netns": "0"})
    assert ill(host_resources.containers(machine(outer), host_resources.FIRST_PID_NAMESPACE)) == []
    assert "--pid=host" in one(host_resources.containers(machine(outer), "pid:[1]")).remedy
    assert one(host_resources.containers(machine(inner), "")).severity is Severity.NOTE
    default = machine(inner, audit__namespaces=["default"])
    assert one(host_resources.containers(default, "")).severity is Severity.WARNING
    log = without_daemon(inner, audit__engine="iptables-log")
    assert one(host_resources.containers(log, "")).severity is Severity.PROBLEM


def test_the_switch_of_log_rules(tmp_path: Path) -> None:
    """Off beside a running LOG engine it silences every other namespace; without one it does not matter."""
    root = root_with(tmp_path, {"proc/sys/net/netfilter/nf_log_all_netns": "0\n"})
    assert list(host_resources.log_switch(machine(root))) == []
    assert ill(host_resources.log_switch(without_daemon(root, audit__engine="iptables-log"))) == []
    assert one(host_resources.log_switch(machine(root, audit__engine="iptables-log"))).severity is Severity.PROBLEM


def test_inotify(tmp_path: Path) -> None:
    """Too few instances are a warning."""
    assert (
        ill(host_resources.inotify(machine(root_with(tmp_path, {"proc/sys/fs/inotify/max_user_instances": "128"}))))
        == []
    )
    few = machine(root_with(tmp_path, {"proc/sys/fs/inotify/max_user_instances": "4"}))
    assert "sysctl -w fs.inotify.max_user_instances=128" in one(host_resources.inotify(few)).remedy


@pytest.mark.parametrize(
    ("path", "point", "kind", "propagates"),
    [
        ("/var/lib/anetcon", "/", "ext4", True),
        ("/run/netns", "/run/netns", "tmpfs", True),
        ("/run/netnsx", "/run", "tmpfs", False),
        ("/srv/a b/store", "/srv/a b", "nfs4", False),
    ],
)
def test_the_mount_of_a_path(path: str, point: str, kind: str, propagates: bool) -> None:
    """The longest mount point above it; whether it gets mounts made elsewhere."""
    mount = host_resources.mount_of(Path(path), MOUNTS)
    assert mount is not None
    assert (mount.point, mount.kind, mount.propagates) == (point, kind, propagates)


@given(st.text(max_size=200))
def test_any_mounts(text: str) -> None:
    """Lines that are none are passed over."""
    host_resources.mount_of(Path("/run"), text)
    assert host_resources.mount_of(Path("/run"), MOUNTS + text) is not None


def test_the_folder_of_namespaces(tmp_path: Path) -> None:
    """A plain file is told, and a daemon to which later mounts do not come."""
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/mnt").symlink_to("mnt:[1]")
    (tmp_path / f"proc/{KEEPER}/ns").mkdir(parents=True)
    (tmp_path / f"proc/{KEEPER}/ns/mnt").symlink_to("mnt:[2]")
    root = root_with(tmp_path, {f"proc/{KEEPER}/mountinfo": MOUNTS})
    assert ill(host_resources.folder(machine(root), [])) == []
    assert "/run/netns/qrouter-2 is a plain file" in one(host_resources.folder(machine(root), ["qrouter-2"])).found
    private = root_with(tmp_path, {f"proc/{KEEPER}/mountinfo": MOUNTS.replace("master:7 ", "")})
    assert "MountFlags=slave" in one(host_resources.folder(machine(private), [])).remedy
