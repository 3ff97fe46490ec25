"""The system users that the daemon and who signs run as: made by systemd-sysusers from our file, else by useradd; and
taken away again.

In a tree that has no passwd yet nothing is made: its first boot does that, from the same file.
"""

from __future__ import annotations

import shutil
from pathlib import PurePosixPath

from anetcon.install import service
from anetcon.install.tree import Tree
from anetcon.install.unit import GROUP, SIGN_USER, USER

FILE = "sysusers.d/anetcon.conf"
USERS = (USER, SIGN_USER)
LEAST_ACCOUNT = 1000
"""Numbers below are system users: UID_MIN of login.defs(5) as every distribution has it."""


def missing(tree: Tree) -> list[str]:
    """Those that are not there."""
    return [user for user in USERS if tree.number("owner", user) is None]


def comes(tree: Tree) -> bool:
    """Whether a user is missing, and can be made."""
    return tree.privileged and bool(missing(tree)) and tree.read("/etc/passwd") is not None


def make(tree: Tree, file: str) -> None:
    """Make those that are missing, and their group."""
    if shutil.which("systemd-sysusers"):
        root = [] if tree.is_host else [f"--root={tree.root}"]
        service.run(["systemd-sysusers", *root, PurePosixPath(file).name])
        return
    prefix = [] if tree.is_host else ["--prefix", str(tree.root)]
    group = ["--gid", GROUP] if tree.number("group", GROUP) is not None else []
    shell = ["--shell", "/usr/sbin/nologin", "--no-create-home"]
    for user in missing(tree):
        service.run(["useradd", *prefix, "--system", *group, *shell, user])


def there(tree: Tree) -> list[str]:
    """Those that can be taken away: system users. One with a higher number is somebody's account."""
    if not tree.privileged:
        return []
    return [user for user in USERS if (tree.number("owner", user) or LEAST_ACCOUNT) < LEAST_ACCOUNT]


def remove(tree: Tree) -> None:
    """Take them away, with the groups of their names."""
    prefix = [] if tree.is_host else ["--prefix", str(tree.root)]
    for user in there(tree):
        service.run(["userdel", *prefix, user])
