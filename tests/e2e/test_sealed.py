"""What was sealed and changed afterwards is never silently used: through the installed daemon and its commands."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow.parquet as pq
import pytest

from anetcon.testbed import traffic
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Server
from tests.support.daemon import Daemon
from tests.support.waiting import wait_until


@pytest.mark.parametrize("table", ["node=*/date=*", "gaps"])
def test_a_sealed_file_without_one_row(world: World, server: Server, daemon: Callable[..., Daemon], table: str) -> None:
    """Every question that would read it ends with one sentence that names the file, and status 8."""
    router = Router(world, instances=1)
    auditor = daemon(router.name, store={"seal_minutes": 1 / 60, "flush_seconds": 0.1})
    auditor.wait_attached([router.name])
    inside = router.instances[0]
    made = traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server, by="reset")
    router.namespace.run("conntrack", "-D", "-p", "tcp", "--orig-src", inside.address)
    wait_until(lambda: list(auditor.store.glob(f"{table}/*.parquet")), 60, "it is sealed", every=0.1)
    auditor.stop()
    asked = ("who", made.nat_src_ip, "--at", f"{made.began / 1e6:.6f}", "--within", "1h")
    assert auditor.command(*asked).returncode in (0, 3)
    file = max(auditor.store.glob(f"{table}/*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    rows = pq.read_table(file, partitioning=None)
    pq.write_table(rows.slice(0, len(rows) - 1), file)
    for words in (asked, ("search",), *([("gaps",)] if table == "gaps" else [])):
        done = auditor.command(*words)
        assert (done.returncode, done.stdout) == (8, ""), words
        assert str(file) in done.stderr
        assert "restore it from a backup" in done.stderr
