"""Write packaging/*.lock: the pinned versions of packaging/*.txt with the SHA-256 of every wheel that may be chosen.

`.venv/bin/python tools/lock.py`, after a version in one of those files has changed. pip is asked, as it is set up on
this machine, what it would install for each processor and Python; it installs nothing. That takes some minutes. With
`--require-hashes` pip then takes these files and no others: of several wheels that fit a machine, one that is listed.
Refuses a pin that something else needs another version of, and anything that would have to be built.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

PACKAGING = Path(__file__).parents[1] / "packaging"
LOCKED = {"constraints.txt": "requirements.lock", "constraints-dev.txt": "requirements-dev.lock"}
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
GLIBC = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_24", "manylinux_2_17", "manylinux2014")
"""The forms of wheels that a machine with glibc 2.28 or later can run."""


def wheels(pins: Path, python: str, machine: str) -> dict[str, str]:
    """The digest of what pip would install of each pinned version there, by `name==version`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        words = [
            "install",
            "--quiet",
            "--dry-run",
            "--ignore-installed",
            "--only-binary=:all:",
            "--report",
            str(report),
        ]
        words += ["--target", folder, "--implementation", "cp", "--python-version", python]
        words += [word for form in GLIBC for word in ("--platform", f"{form}_{machine}")]
        subprocess.run([sys.executable, "-m", "pip", *words, "--requirement", str(pins)], check=True)
        chosen = json.loads(report.read_bytes())["install"]
    found = {}
    for each in chosen:
        name = each["metadata"]["name"].lower().replace("_", "-")
        found[f"{name}=={each['metadata']['version']}"] = each["download_info"]["archive_info"]["hashes"]["sha256"]
    return found


def lock(pins: Path) -> str:
    """The text of a lock file."""
    found = defaultdict[str, set[str]](set)
    for python in PYTHONS:
        for machine in MACHINES:
            for pinned, digest in wheels(pins, python, machine).items():
                found[pinned].add(digest)
    lines = [
        f"# {pins.name} with the wheels for Python {', '.join(PYTHONS)} on {' and '.join(MACHINES)} with glibc.",
        "# Written by tools/lock.py; taken by `pip install --require-hashes --requirement` this file.",
    ]
    for pinned in sorted(found):
        lines += [" \\\n    ".join([pinned, *(f"--hash=sha256:{digest}" for digest in sorted(found[pinned]))])]
    return "\n".join(lines) + "\n"


def main() -> int:
    """The exit status."""
    for pins, name in LOCKED.items():
        text = lock(PACKAGING / pins)
        (PACKAGING / name).write_text(text)
        print(f"packaging/{name}: {text.count('==')} packages, {text.count('--hash')} wheels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
