"""Where the program that runs now is, and whether it can stay there as a service."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from anetcon import __version__
from anetcon.errors import AnetconError

NAME = "anetcon"
PACKAGE = Path(__file__).parents[1]
VANISHING = ("/tmp", "/var/tmp", "/run", "/dev/shm")  # noqa: S108 - named to be refused
HOMES = ("/home", "/root")


def script() -> Path:
    """The file that is typed as `anetcon`, beside the interpreter that runs now. AnetconError when there is none."""
    given = Path(sys.argv[0])
    places = [given.absolute()] if given.name == NAME else []
    places += [Path(sys.executable).parent / NAME, Path(sysconfig.get_path("scripts")) / NAME]
    for place in places:
        if place.is_file():
            return place
    raise AnetconError(f"there is no {places[-1]}: install the program by `pip install`, then run `anetcon install`")


def folders() -> list[Path]:
    """Everything that has to be there for the program to run: its environment, its interpreter, its source."""
    found = [Path(sys.prefix), Path(sys.base_prefix), PACKAGE, script().parent]
    real = sorted({folder.resolve() for folder in found})
    return [folder for folder in real if not any(folder != other and folder.is_relative_to(other) for other in real)]


def require_lasting(folders: Iterable[Path]) -> None:
    """Raise AnetconError when one lies where it will vanish, or where no service sees it."""
    for folder in folders:
        if any(folder.is_relative_to(place) for place in VANISHING):
            raise AnetconError(
                f"the program lies in {folder}, which does not last: install it in a place like /opt/anetcon "
                "(`python3 -m venv /opt/anetcon`), then run `/opt/anetcon/bin/anetcon install`"
            )


def in_homes(folders: Iterable[Path]) -> tuple[str, ...]:
    """Those that lie in home directories, which the unit hides."""
    return tuple(str(folder) for folder in folders if any(folder.is_relative_to(home) for home in HOMES))


def fingerprint() -> str:
    """By which a changed program is known: version and content of its files, in a few milliseconds."""
    made = hashlib.sha256(__version__.encode())
    for file in sorted(PACKAGE.rglob("*.py")):
        made.update(file.read_bytes())
    return made.hexdigest()
