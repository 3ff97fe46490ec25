"""`anetcon verify` beside a daemon that seals, and what it says to people and programs."""

from __future__ import annotations

import json
from pathlib import Path

from anetcon.testbed.topology import Router, World
from tests.e2e.conftest import Start
from tests.load.flood import Flood

FLOOD = 20_000


def test_beside_a_daemon(world: World, daemon: Start, tmp_path: Path) -> None:
    """While thousands of connections are recorded and sealed, nothing is ever found wrong, and every head that was
    printed is found again. A byte changed afterwards is found, and named."""
    router = Router(world, plain=True)
    quick = {"seal_minutes": 1 / 60, "flush_seconds": 0.1}
    auditor = daemon(router.name, store=quick, logs={"enabled": False})
    auditor.wait_attached([router.name])
    said = []
    with Flood(router, FLOOD) as flood:
        for turn in range(10):
            flood.send(turn * FLOOD // 10, (turn + 1) * FLOOD // 10)
            done = auditor.command("verify", "--format", "json")
            said.append(json.loads(done.stdout))
            assert (done.returncode, said[-1]["findings"]) == (3, []), done.stdout
        made = flood.made()
        auditor.wait_recorded(lambda totals: totals["ends"] >= made)
    lines = [answer["chain"]["lines"] for answer in said]
    assert lines == sorted(lines)
    assert lines[-1] > lines[0]
    for answer in said:  # whoever noted any of these heads finds it again
        if answer["chain"]["head"]:
            again = json.loads(auditor.command("verify", "--known", answer["chain"]["head"], "-f", "json").stdout)
            assert (again["findings"], again["chain"]["known"]) == ([], answer["chain"]["lines"])
    assert auditor.stop() == 0
    whole = auditor.command("verify", "--resume", str(tmp_path / "note"))
    assert whole.returncode == 3
    assert "whole: all that was read is as the manifest says" in whole.stdout
    assert "note this head elsewhere, and give it with --known next time" in whole.stdout
    (file, *_) = sorted(auditor.store.glob("node=*/date=*/*.parquet"))
    changed = bytearray(file.read_bytes())
    changed[len(changed) // 2] ^= 1
    file.write_bytes(changed)
    wrong = auditor.command("verify", "--resume", str(tmp_path / "note"))
    assert wrong.returncode == 1
    assert f"wrong: {file} was changed: its SHA-256 is not the one in line " in wrong.stdout
    assert "files were read by an earlier run, and not touched since" in wrong.stdout
