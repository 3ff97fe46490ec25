"""`anetcon sign`: sign what the daemon seals, as a process of its own."""

from __future__ import annotations

from anetcon.cli.options import StoreOption
from anetcon.config.load import load
from anetcon.errors import KeyringError
from anetcon.proof import main
from anetcon.store.layout import sign_folder


def sign(*, store: StoreOption) -> None:
    """Sign what the daemon seals, until SIGTERM or SIGINT.

    It reads the store and never writes it. After each commit it compares the new files with the manifest. Then it
    signs the manifest, if that goes on from what it signed before. Keys and checkpoints are beside the store, in
    DIR-sign. Run it as a user of its own: whoever writes the store must not be able to read the keys.
    """
    try:
        main.main(store, load().config.node)
    except OSError as error:
        raise KeyringError(f"cannot write the keys in {sign_folder(store)}: {error.strerror}") from error
