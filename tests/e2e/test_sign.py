"""`anetcon sign` beside a daemon, and what the user who writes the store can do against it: nothing unseen."""

from __future__ import annotations

import grp
import json
import os
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anetcon.proof import leaves
from anetcon.proof.checkpoints import Checkpoints
from anetcon.proof.keyring import Keyring
from anetcon.proof.signing import Signer
from anetcon.proof.told import told
from anetcon.store import manifest
from anetcon.store.layout import sign_folder
from anetcon.testbed.topology import Router, World
from tests.e2e.conftest import Start
from tests.load.flood import Flood
from tests.support.daemon import PROGRAM, Daemon
from tests.support.stores import rechained, sealed
from tests.support.waiting import wait_until

WRITES, SIGNS = 64_002, 64_001
"""Numbers of users that this machine has not: who writes the store, and who signs it."""


def test_beside_a_daemon(world: World, daemon: Start) -> None:
    """It makes keys, and signs each commit soon after it; it ends by SIGTERM, and goes on where it was."""
    router = Router(world, plain=True)
    auditor = daemon(router.name, store={"seal_minutes": 1 / 60, "flush_seconds": 0.1}, logs={"enabled": False})
    auditor.wait_attached([router.name])
    folder, store = sign_folder(auditor.store), auditor.store
    for turn in range(2):
        before, size = told(folder), leaves.read(store, []).size
        words = [str(PROGRAM), "sign", "--store", str(store)]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as signing:
            try:
                _flooded(router, auditor, turn)
                wait_until(lambda: told(folder) != before, 20, "it has looked at the store")  # noqa: B023 - at once
                wait_until(lambda: leaves.read(store, []).size > size, 60, "more is sealed")  # noqa: B023 - at once
                wait_until(lambda: _is_signed(store), 60, "all that is sealed is signed")
            finally:
                signing.send_signal(signal.SIGTERM)
                said = signing.communicate(timeout=60)[1]
        assert signing.returncode == 0, said
        assert ("made keys" in said) == (turn == 0)
    sizes = [each.checkpoint.size for each in Checkpoints(folder)]
    assert sizes == sorted(set(sizes))
    assert len(sizes) >= 2
    status = subprocess.run(
        [str(PROGRAM), "keys", "status", "--store", str(store), "-f", "json"], capture_output=True, check=True
    )
    shown = json.loads(status.stdout)
    assert (shown["signed_lines"], shown["epoch"], shown["refused"]) == (sizes[-1], 1, None)
    again = subprocess.run(
        [str(PROGRAM), "keys", "init", "--store", str(store)], capture_output=True, text=True, check=False
    )
    assert (again.returncode, again.stderr.count("\n")) == (13, 1)
    assert "has keys already" in again.stderr


def _flooded(router: Router, auditor: Daemon, turn: int) -> None:
    """A thousand connections more are on record."""
    with Flood(router, 1000 * (turn + 1)) as flood:
        flood.send(1000 * turn, 1000 * (turn + 1))
        made = flood.made()
        auditor.wait_recorded(lambda totals: totals["ends"] >= made)


def _is_signed(store: Path) -> bool:
    last = Checkpoints(sign_folder(store)).last()
    return last is not None and last.checkpoint.size == leaves.read(store, []).size


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder that every user may pass."""
    with tempfile.TemporaryDirectory(prefix="anetcon-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def by(user: int, do: Callable[[], object]) -> int:
    """The exit status of a process of this user, in group adm, that does something: 0, or 1 where it may not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # libraries have threads; the child uses none of them
        child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(*[grp.getgrnam("adm").gr_gid] * 3)
            os.setresuid(user, user, user)
            do()
        except PermissionError:
            os._exit(1)
        except BaseException:  # noqa: BLE001 - whatever it is, this process is not the test's
            os._exit(2)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_who_writes_the_store_cannot_rewrite_the_past_unseen(passable: Path) -> None:
    """He can read no key and write no checkpoint; who signs writes no store. A store that he rewrote is not signed."""
    store = sealed(passable / "store")
    for path in (store, *store.rglob("*")):
        os.chown(path, WRITES, grp.getgrnam("adm").gr_gid)
        path.chmod(0o750 if path.is_dir() else 0o640)
    folder = sign_folder(store)
    Keyring(folder).init("gw1", count=3, owner=SIGNS)
    assert by(SIGNS, lambda: Signer(store, folder).step()) == 0
    (kept,) = Checkpoints(folder)
    assert kept.checkpoint.size == leaves.read(store, []).size
    for secret in ("node.key", "epoch-00000001.json"):
        assert by(WRITES, (folder / secret).read_bytes) == 1
    checkpoints = folder / "checkpoints" / "00000001.jsonl"
    assert by(WRITES, checkpoints.read_bytes) == 0
    assert by(WRITES, lambda: checkpoints.open("ab")) == 1
    assert by(WRITES, checkpoints.unlink) == 1
    assert by(WRITES, lambda: (folder / "more").write_bytes(b"")) == 1
    gone = manifest.replay(store).of("connections")[0].file
    assert by(SIGNS, (store / gone).unlink) == 1
    assert by(SIGNS, lambda: (store / "manifest.jsonl").open("ab")) == 1

    def rewrite() -> None:
        rechained(store, gone=gone)
        (store / gone).unlink()

    assert by(WRITES, rewrite) == 0
    assert by(SIGNS, lambda: Signer(store, folder).step()) == 0
    now = told(folder)
    assert now is not None
    assert "rolled back" in now.refused
    assert [each.checkpoint for each in Checkpoints(folder)] == [kept.checkpoint]
