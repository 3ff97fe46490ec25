"""Settings that are read again: resolved by a child, since that takes libraries, then handed to whoever asked.

Refuses to use them: what a keeper cannot become is its own to say (AnetconError).
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

from anetcon.errors import AnetconError
from anetcon.keeper.children import STOP_SECONDS
from anetcon.keeper.host import Host
from anetcon.keeper.options import Options
from anetcon.link import settings as memory
from anetcon.link.settings import Settings
from anetcon.system.process import python, spawn
from anetcon.system.report import ERROR, report

Use = Callable[[Settings], None]


class Reload:
    """One at a time. `done` is called when it is over, however it went."""

    def __init__(self, host: Host, options: Options, done: Callable[[], None]) -> None:
        self.refused = False
        """Whether the settings were, when they were read last."""
        self._host = host
        self._options = options
        self._done = done
        self._wanted: Use | None = None
        self._over = self._stopped = False

    @property
    def is_under_way(self) -> bool:
        """Whether somebody waits for the settings."""
        return self._wanted is not None

    def stop(self) -> None:
        """Nobody wants settings any more."""
        self._stopped = True

    def ask(self, use: Use, file: str | None, *, first: bool = False) -> None:
        """Have the settings of that file resolved, then used.

        Who asks meanwhile has it done over, since the file may be another by now; of a reload and a replacement it is
        the replacement, which uses the settings, too: what is wanted `first`."""
        if self._stopped:
            return
        if self._wanted is not None:
            self._over = True
            self._wanted = use if first else self._wanted
            return
        self._wanted = use
        rest = self._options.rest or (["-c", file] if file else [])
        answer = os.memfd_create("anetcon-resolved")
        words = python(self._options.resolver, "config", "show", "--format", "json", *rest)
        pid = spawn(words, stdout=answer)
        patience = self._host.loop.after(STOP_SECONDS, lambda: os.kill(pid, signal.SIGKILL))

        def ended(code: int) -> None:
            patience.cancel()
            wanted, over = self._wanted or use, self._over
            self._wanted, self._over = None, False
            try:
                if over or self._stopped:
                    self.ask(wanted, file)
                    return
                self._use(wanted, answer, code)
            finally:
                os.close(answer)
            self._done()

        self._host.reaper.expect(pid, ended)

    def _use(self, use: Use, answer: int, code: int) -> None:
        self.refused = True
        if code:
            report(f"{ERROR}the configuration is refused (status {code}, see above); going on with the one before")
            return
        try:
            resolved = memory.read(answer)
            use(Settings(resolved.get("resolved", resolved)))
            self.refused = False
        except (ValueError, KeyError, TypeError, re.error) as error:
            report(f"{ERROR}cannot read what `anetcon config show` said: {error!r}; going on with the settings before")
        except AnetconError as error:
            report(f"{ERROR}{error}; going on with the settings before")
