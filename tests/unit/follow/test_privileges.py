"""Whose rights the process keeps."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from anetcon.follow import privileges

SCRIPT = """
import os, sys
from pathlib import Path
from anetcon.follow import privileges
privileges.USER = sys.argv[2]
privileges.drop(Path(sys.argv[1]))
print(os.geteuid())
print(next(line for line in open('/proc/self/status') if line.startswith('CapEff')).split()[1])
try:
    os.chown(sys.argv[1], 12345, -1)
except PermissionError:
    print('refused')
"""


def dropped(store: Path, user: str, *within: str) -> list[str]:
    """What a process that dropped its privileges is: user, capabilities, and that it may not give files away."""
    words = [*within, sys.executable, "-c", SCRIPT, str(store), user]
    done = subprocess.run(words, check=True, capture_output=True, text=True, cwd="/")
    return done.stdout.split()


def test_nothing_is_left_without_the_user(tmp_path: Path) -> None:
    """Where there is no such user the process stays who it is, without a capability."""
    assert dropped(tmp_path, "no-such-user") == [str(os.geteuid()), "0" * 16, "refused"]


def test_it_becomes_the_owner_of_the_store(tmp_path: Path) -> None:
    """As root, with a user whose store it is, it becomes that user; not when the store is another's."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    nobody = pwd.getpwnam("nobody")
    assert dropped(tmp_path, "nobody") == ["0", "0" * 16, "refused"]
    os.chown(tmp_path, nobody.pw_uid, -1)
    for parent in [p for p in tmp_path.parents if p.is_relative_to("/tmp")]:  # noqa: S108 - pytest's own
        if parent != Path("/tmp"):  # noqa: S108
            parent.chmod(parent.stat().st_mode | 0o011)
    assert dropped(tmp_path, "nobody") == [str(nobody.pw_uid), "0" * 16, "refused"]


def test_a_root_that_may_not_become_anybody(tmp_path: Path) -> None:
    """In a container that was given two capabilities it stays root, and drops those."""
    if os.geteuid() != 0:
        pytest.skip("only root has capabilities to do without")
    os.chown(tmp_path, pwd.getpwnam("nobody").pw_uid, -1)
    few = ("setpriv", "--bounding-set=-all,+sys_admin,+net_admin", "--inh-caps=-all")
    assert dropped(tmp_path, "nobody", *few) == ["0", "0" * 16, "refused"]


def test_the_user_is_nobody_else(tmp_path: Path) -> None:
    """No user, no store: nobody to become."""
    assert privileges._owner(tmp_path / "missing") is None
