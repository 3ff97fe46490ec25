"""`anetcon keys`: make the keys by which the store is signed, certify more of them, and say which there are."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from anetcon.cli.options import StoreOption, bad
from anetcon.cli.output import VERSION, Format, FormatOption
from anetcon.cli.people import print_json, say
from anetcon.config.load import load
from anetcon.errors import KeyringError
from anetcon.proof.certificate import ELSEWHERE, EPOCHS, HERE, Trusted
from anetcon.proof.checkpoints import Checkpoints
from anetcon.proof.keyring import Keyring, root_of
from anetcon.proof.note import SigningKey
from anetcon.proof.told import told
from anetcon.store.layout import sign_folder

USER = "anetcon-sign"
"""Who signs where the program is installed."""

app = typer.Typer(
    help="Make, show or renew the keys that sign the store.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RootOption = Annotated[
    Path | None,
    typer.Option("--root", metavar="FILE", help="Root key, in PEM; made if it is not there. Take it away afterwards."),
]
EpochsOption = Annotated[int, typer.Option("--epochs", metavar="N", min=1, max=1_000_000, help="Epochs to certify.")]


@app.command("init")
def init(root: RootOption = None, epochs: EpochsOption = EPOCHS, *, store: StoreOption) -> None:
    """Make the keys that sign the store.

    The root key certifies the key of this node, and one key for each epoch. An epoch lasts an hour or more. Without
    --root the root key is made here, used once and erased. Note the line that is printed in another place.
    """
    with _writing(store):
        key, made = _root(root)
        trusted = Keyring(sign_folder(store)).init(load().config.node, key, epochs, _owner(), made)
    _say_root(trusted, root)


@app.command("renew")
def renew(root: RootOption = None, epochs: EpochsOption = EPOCHS, *, store: StoreOption) -> None:
    """Certify the keys of more epochs, the next of which begins now.

    Give the same root key as before. Without --root another one is made here, and the current epoch signs for it.
    """
    with _writing(store):
        key, made = _root(root)
        trusted = Keyring(sign_folder(store)).renew(key, epochs, made)
    _say_root(trusted, root)


@app.command("status")
def status(*, store: StoreOption, form: FormatOption = Format.TABLE) -> None:
    """Show the keys of this node, and what was signed last.

    Exit status 0: there are keys. 13: there are none, or they cannot be read.
    """
    folder = sign_folder(store)
    keys = Keyring(folder)
    trusted, last, now = keys.trusted(), Checkpoints(folder).last(), told(folder)
    said: dict[str, Any] = {
        "origin": trusted.origin,
        "root": str(trusted.root),
        "root_made": "here" if trusted.made_here else "elsewhere",
        "node": str(trusted.nodes[-1]),
        "epoch": keys.epoch(),
        "epochs_left": keys.left(),
        "signed_lines": last.checkpoint.size if last else 0,
        "signed_time": last.checkpoint.time if last else None,
        "refused": now.refused if now and now.refused else None,
    }
    if form is Format.JSON:
        print_json({"version": VERSION} | said)
        return
    say(*(f"{name.replace('_', ' '):13} {'-' if value is None else value}" for name, value in said.items()))


def _root(path: Path | None) -> tuple[SigningKey | None, str]:
    """The root key, and where it was made: here, if it is not there yet."""
    made = ELSEWHERE if path and path.exists() else HERE
    return root_of(path) if path else None, made


def _owner() -> int:
    """The user who signs, where there is one and we can give him the keys."""
    try:
        return pwd.getpwnam(USER).pw_uid if os.geteuid() == 0 else -1
    except KeyError:
        return -1


@contextlib.contextmanager
def _writing(store: Path) -> Iterator[None]:
    """What the folder of the keys refuses is said in one sentence."""
    folder = sign_folder(store)
    if not folder.parent.is_dir():
        raise bad("store", f"{folder.parent} is no folder, and the keys are to be in it")
    try:
        yield
    except OSError as error:
        raise KeyringError(f"cannot write the keys in {folder}: {error.strerror}") from error


def _say_root(trusted: Trusted, root: Path | None) -> None:
    where = f"the root key is in {root}: take it away from this machine" if root else "the root key was erased"
    say(f"keys of {trusted.origin}", f"{where}; note its public key elsewhere, for `anetcon verify --key FILE`:")
    say(str(trusted.root))
