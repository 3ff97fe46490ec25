"""What every part of the keeper works with: its loop, the children it waits for, where it is, what it has here."""

from __future__ import annotations

from typing import NamedTuple

from anetcon.keeper.children import Reaper
from anetcon.keeper.loop import Loop
from anetcon.keeper.shared import Shared
from anetcon.link.ledger import Ledger
from anetcon.system.netns import Home


class Host(NamedTuple):
    """One of the process."""

    loop: Loop
    reaper: Reaper
    home: Home
    ledger: Ledger
    shared: Shared
