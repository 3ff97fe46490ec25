"""Files that root writes into a store belong to whoever owns the store: its daemon gives root up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anetcon.store import layout


@contextmanager
def as_owner(store: Path) -> Iterator[None]:
    """Be who owns the store, if root runs this for somebody else: the daemon's followers give root up."""
    try:
        owner = store.stat()
    except FileNotFoundError:
        owner = None
    if os.geteuid() != 0 or owner is None or owner.st_uid == 0:
        yield
        return
    group = layout.group()
    groups = os.getgroups()
    os.setgroups([] if group is None else [group])
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
