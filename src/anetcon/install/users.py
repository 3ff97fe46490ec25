"""The system user that the daemon runs as: made by systemd-sysusers from our file, else by useradd; taken away again.

In a tree that has no passwd yet nothing is made: its first boot does that, from the same file.
"""

from __future__ import annotations

import shutil
from pathlib import PurePosixPath

from anetcon.install import service
from anetcon.install.tree import Tree
from anetcon.install.unit import GROUP, USER

FILE = "sysusers.d/anetcon.conf"
LEAST_ACCOUNT = 1000
"""Numbers below are system users: UID_MIN of login.defs(5) as every distribution has it."""


def comes(tree: Tree) -> bool:
    """Whether the user is missing, and can be made."""
    return tree.privileged and tree.number("owner", USER) is None and tree.read("/etc/passwd") is not None


def make(tree: Tree, file: str) -> None:
    """Make it, and its group."""
    if shutil.which("systemd-sysusers"):
        root = [] if tree.is_host else [f"--root={tree.root}"]
        service.run(["systemd-sysusers", *root, PurePosixPath(file).name])
        return
    prefix = [] if tree.is_host else ["--prefix", str(tree.root)]
    group = ["--gid", GROUP] if tree.number("group", GROUP) is not None else []
    shell = ["--shell", "/usr/sbin/nologin", "--no-create-home"]
    service.run(["useradd", *prefix, "--system", *group, *shell, USER])


def is_there(tree: Tree) -> bool:
    """Whether it can be taken away: a system user. One with a higher number is somebody's account."""
    return tree.privileged and (tree.number("owner", USER) or LEAST_ACCOUNT) < LEAST_ACCOUNT


def remove(tree: Tree) -> None:
    """Take it away, with the group of its name."""
    prefix = [] if tree.is_host else ["--prefix", str(tree.root)]
    service.run(["userdel", *prefix, USER])
