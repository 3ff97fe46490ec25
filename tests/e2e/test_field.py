"""A new field of a record is one edit, of the field table: everything else derives from it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from anetcon.testbed import traffic
from anetcon.testbed.topology import SERVER, Router, World
from anetcon.testbed.traffic import Server
from tests.e2e.conftest import Start
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
FIELD = """
    Field(
        "status", "u32", "bits of enum ip_conntrack_status", True, since=FORMAT, source="CTA_STATUS",
        filter="Status of conntrack, or a range.",
    ),
"""
IPS_CONFIRMED, IPS_DYING = 1 << 3, 1 << 9  # linux/netfilter/nf_conntrack_common.h


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the source with one more field; programs started from now on are of it."""
    source = tmp_path / "edited"
    shutil.copytree(ROOT / "src" / "anetcon", source / "anetcon", ignore=shutil.ignore_patterns("__pycache__"))
    table = source / "anetcon" / "record.py"
    text, edits = re.subn(r'(?=\n    Field\("zone")', FIELD.rstrip("\n"), table.read_text())
    assert edits == 1
    table.write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(source))


@pytest.mark.usefixtures("edited")
def test_a_field_travels(world: World, server: Server, daemon: Start) -> None:
    """From the kernel's message into the journal and Parquet, JSON and CSV, with a filter, and onto the page."""
    router = Router(world, instances=1)
    auditor = daemon(router.name, store={"seal_minutes": 1 / 60, "flush_seconds": 0.1})
    auditor.wait_attached([router.name])
    inside = router.instances[0]
    traffic.tcp(inside.namespace, inside.address, (SERVER, 8080), server, by="reset")
    router.namespace.run("conntrack", "-D", "-p", "tcp", "--orig-src", inside.address)

    def asked(*words: str) -> str:
        done = auditor.command("search", "--proto", "tcp", *words)
        assert done.returncode in (0, 1, 3), done.stderr
        return done.stdout

    wait_until(lambda: '"end_reason"' in asked("--format", "jsonl"), 30, "it is in the journal")
    (journal,) = [json.loads(line) for line in asked("--format", "jsonl").splitlines()]
    assert journal["status"] & (IPS_CONFIRMED | IPS_DYING)
    wait_until(lambda: list(auditor.store.glob("node=*/date=*/*.parquet")), 60, "it is sealed", every=0.1)
    auditor.stop()
    (file,) = auditor.store.glob("node=*/date=*/*.parquet")
    assert pq.read_table(file, partitioning=None)["status"].to_pylist() == [journal["status"]]
    assert json.loads(asked("--format", "json"))["connections"][0]["status"] == journal["status"]
    head, row = asked("--format", "csv").splitlines()
    assert row.split(",")[head.split(",").index("status")] == str(journal["status"])
    here, elsewhere = str(journal["status"]), f"{journal['status'] + 1}-{(1 << 32) - 1}"
    assert len(asked("--format", "jsonl", "--status", here).splitlines()) == 1
    assert asked("--format", "jsonl", "--status", elsewhere) == ""
    page = "from tools import docs; print('\\n'.join(docs.fields()))"
    printed = subprocess.run([sys.executable, "-c", page], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "| `status` | uint32, null | int64 | number | bits of enum ip_conntrack_status |" in printed
