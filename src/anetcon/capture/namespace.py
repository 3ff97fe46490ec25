"""One audited namespace as capture knows it: which it is, and its sockets. What is known of its connections is with
whoever finds it out.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from anetcon.capture.addresses import Context
from anetcon.capture.surroundings import Surroundings
from anetcon.link.messages import Attach


class Namespace:
    """As the keeper handed it over. `slot` is its row in the shared counters. Times in microseconds of wall clock."""

    def __init__(self, told: Attach, sockets: Sequence[socket.socket], node: str) -> None:
        self.slot, self.netns, self.inode = told.slot, told.netns, told.inode
        self.noticed, self.attached = told.noticed, told.attached
        self.newborn, self.resumed = told.newborn, told.resumed
        self.events, self.requests, route = sockets
        self.descriptor = self.events.fileno()
        """Of `events`: asked for at every turn."""
        self.surroundings = Surroundings(route, Context(node, told.netns, told.inode))

    @property
    def context(self) -> Context:
        """Its addresses, neighbours and routes."""
        return self.surroundings.context

    def close(self) -> None:
        """Let go of the namespace: nothing of ours keeps it alive."""
        for each in (self.events, self.requests, self.surroundings):
            each.close()
