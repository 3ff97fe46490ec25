"""The option -V, of the program and of the daemon alike."""

from __future__ import annotations

from typing import Annotated

import typer

from anetcon import __version__
from anetcon.cli.people import say


def _version(wanted: bool) -> None:
    if wanted:
        say(f"anetcon {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version and end.")
]
