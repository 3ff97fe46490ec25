"""`anetcon uninstall`: end the audit of this host, and take away what `anetcon install` put there."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from anetcon.cli.install import HERE, DryRunOption, RootOption, find
from anetcon.install import apply, undo


def uninstall(
    root: RootOption = HERE,
    purge: Annotated[bool, typer.Option("--purge", help="Edited configuration, records and logs, too.")] = False,
    dry_run: DryRunOption = False,
) -> None:
    """End the audit of this host and remove what was installed.

    Records, logs and edited configuration stay, unless --purge is given. The sysctls are what they were before.
    """
    os.umask(0o022)
    found = find(root)
    steps = undo.steps(found.tree, found.items, found.manifest, purge)
    for step in steps:
        typer.echo(str(step))
    if dry_run:
        typer.echo("nothing was changed: --dry-run" if steps else "nothing to do: nothing is installed")
        return
    for step in steps:
        apply.carry_out(found.tree, step)
    folders = undo.folders(found.tree, found.items, found.manifest)
    found.tree.remove(found.manifest.path)
    for folder in folders:
        found.tree.remove_empty(folder)
    typer.echo("removed" if steps else "nothing to do: nothing is installed")
