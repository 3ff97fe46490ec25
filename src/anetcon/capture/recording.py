"""What every part of capture records with, made once at its start."""

from __future__ import annotations

import mmap

from anetcon.capture import clock_steps
from anetcon.capture.beginning import Beginning
from anetcon.capture.keeper import KeeperLink
from anetcon.capture.lasting import Lasting
from anetcon.capture.pipeline import Pipeline
from anetcon.capture.poll import Poll
from anetcon.capture.requests import Requests
from anetcon.capture.settings import Settings
from anetcon.capture.table_dumps import Tables
from anetcon.capture.vanished import Vanished
from anetcon.capture.writer import Journals
from anetcon.gaps import Cause
from anetcon.link import counters
from anetcon.link.channel import Channel
from anetcon.system import clock


class Recording:
    """The journal and what leads there, the keeper, the descriptors, the shared counters. `handed` namespaces are
    handed over by the keeper at once: their sockets hold what came while no capture ran."""

    def __init__(self, settings: Settings, shared: mmap.mmap, channel: Channel, handed: int = 0) -> None:
        self.settings = settings
        self.handed = handed
        self.clock = clock.now
        self.clocks = clock_steps.read(clock.now_us)
        """Before anything that takes time: what is compared with it later is of one moment."""
        self.header = counters.Header(shared)
        store = settings.journals.store
        journal = store / "journal" / "connections"
        self.began = Beginning.look(journal, self.clocks.moment, restarted=bool(self.header.progress))
        self.journals = Journals(settings.journals, self.began.started)
        self.journals.taken = self.began.origin
        self.lasting = Lasting(store / "lasting.json", self.journals.gap, self.began.origin)
        self.vanished = Vanished(store / "namespaces.json", settings.where)
        self.journals.beside += [self.lasting, self.vanished]
        self.pipeline = Pipeline(self.journals, shared, settings.protocols, settings.networks)
        self.requests = Requests(self.clock)
        self.tables = Tables(self.pipeline, self.requests)
        self.poll = Poll()
        self.keeper = KeeperLink(channel)
        self._tell_the_beginning()

    def _tell_the_beginning(self) -> None:
        began, started = self.began, self.began.started.wall
        self.lasting.end_those_before(started if began.before is None else began.before)
        for gap in began.gaps():
            self.journals.gap(gap)
        for network in self.settings.public:
            self.journals.public(network, began.origin, None)
        for name, inode in self.vanished.find():
            self.journals.listed(name, inode, started, started)
        if self.settings.protocols or not self.settings.journals.starts:
            self.lasting.begin(None, Cause.LEFT_OUT, began.origin)
