"""`anetcon compact`: small files of the store put together now, as the daemon does it by itself."""

from __future__ import annotations

import os

from anetcon.cli.options import StoreOption
from anetcon.cli.people import say
from anetcon.config.load import load
from anetcon.errors import ConfigError, PermissionMissingError, StoreError
from anetcon.store.frugal import compactor
from anetcon.store.limits import Limits
from anetcon.store.owner import as_owner


def compact(*, store: StoreOption) -> None:
    """Put small files of the store together.

    The daemon does it by itself when an hour and a day are over (store.compact). By hand it does the same at once:
    after an upgrade, or where the daemon is not to do it. It changes no record, and the daemon may run.

    Exit status 0: done, or there was nothing to do.
    """
    os.umask(0o027)
    done = 0
    try:
        made = compactor(store, _limits())
        from anetcon.store.reader import require_store

        with as_owner(store):
            require_store(store)
            for job in made.run():
                say(job.said)
                done += 1
    except PermissionError as error:
        why = "compact it as its owner, or as root"
        raise PermissionMissingError(f"cannot write {error.filename or store}: {why}") from error
    except OSError as error:
        raise StoreError(f"cannot write {error.filename}: {error.strerror}; nothing is lost, try again") from error
    except MemoryError:
        raise StoreError(f"too little memory to compact {store}: make more free; nothing is lost") from None
    if not done:
        say("nothing to do: the files of each hour and day that is over are together")


def _limits() -> Limits:
    """How much of the disk is to stay free, where the configuration can be read."""
    try:
        return Limits.of(load().resolved()["store"])
    except ConfigError:
        return Limits()
