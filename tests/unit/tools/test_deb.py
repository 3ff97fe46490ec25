"""What the package's scripts do, as far as it needs no dpkg."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_what_is_elsewhere_is_noted() -> None:
    """When the package is removed, records, logs and sinks' files in places of the administrator's choice are noted."""
    function = re.search(r"^elsewhere\(\).*?^}", (ROOT / "packaging/deb/prerm").read_text(), re.MULTILINE | re.DOTALL)
    assert function
    sinks = ", ".join(
        f'{name} = {{type = "json", to = "file:{path}"}}'
        for name, path in (("siem", "/srv/a b.json"), ("two", "/var/log/anetcon/b.json"), ("three", "/srv/c.json"))
    )
    environment = os.environ | {
        "ANETCON_STORE_PATH": "/srv/store",
        "ANETCON_LOGS_FILE": "/var/log/anetcon/anetcon.log",
        "ANETCON_LOGS_NAMESPACE_HASH_FILE": "/srv/hashes",
        "ANETCON_SINKS": f"{{{sinks}}}",
    }
    program = shlex.quote(str(Path(sys.executable).with_name("anetcon")))
    script = f"program={program}\n{function[0]}\nelsewhere"
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.splitlines()) == ["/srv/a b.json", "/srv/c.json", "/srv/hashes", "/srv/store"]
