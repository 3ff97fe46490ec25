"""The files by which rsyslog sorts the kernel's lines into the text logs: replaced by ours, or taken away.

Refuses to replace a file that has something of the site's in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from anetcon.config.load import Loaded
from anetcon.config.model import RSYSLOG_FILE
from anetcon.errors import TakeoverError
from anetcon.legacy import backup, foreign_lines, old_rsyslog
from anetcon.legacy.find import Old
from anetcon.legacy.lost_lines import Witness
from anetcon.legacy.old_rsyslog import LogWriter
from anetcon.legacy.way_back import REPLACED
from anetcon.link.engine_kinds import KINDS


class Sorting:
    """rsyslog's part in a takeover. `snippets` are its files by now, with their texts."""

    def __init__(self, old: Old, loaded: Loaded) -> None:
        self.snippets = {path: _text(path) for path in old.snippets} or (_kept() if old.unfinished else {})
        self.writer = old_rsyslog.choose(loaded, self.snippets, old_rsyslog.user())
        self._has_rules = KINDS[loaded.config.audit.engine].rules
        self._logs = loaded.config.logs

    def refuse_foreign_lines(self, old: Old) -> None:
        """Raise TakeoverError before a file goes that has something of the site's in it."""
        prefixes = {prefix.partition("]")[0] for prefix in old_rsyslog.files(self._logs)}
        found = {path: foreign_lines.in_logrotate(_text(path)) for path in old.rotations}
        if self.writer in (LogWriter.RENEWED, LogWriter.DAEMON):
            found |= {path: foreign_lines.in_rsyslog(_text(path), prefixes) for path in old.snippets}
        for path, line in found.items():
            if line is not None:
                raise TakeoverError(
                    f"the installation would replace {path}, which has more in it than the bash ANetCon's, such as "
                    f"`{line}`: move that to a file of its own, then install again"
                )

    def renew(self, say: Callable[[str], None]) -> None:
        """Put our file in the place of theirs, restart rsyslog, and write the lines that it loses by that."""
        file = Path(RSYSLOG_FILE)
        for path in self.snippets:
            if path != file:
                path.unlink(missing_ok=True)
        _write(file, old_rsyslog.renewed(self._logs))
        seen = Witness(old_rsyslog.files(self._logs), old_rsyslog.named(self.snippets.values()))
        old_rsyslog.restart()
        if count := seen.fill():
            say(f"rsyslog lost {count} line{'s' * (count != 1)} when it was restarted: they were written for it")

    def remove(self) -> None:
        """Take theirs away. Before the daemon starts: where the file is there it leaves the logs to rsyslog."""
        for path in self.snippets:
            path.unlink(missing_ok=True)
        if self._has_rules:
            _write(old_rsyslog.DISCARD, old_rsyslog.discarding(self._logs))


def _kept() -> dict[Path, str]:
    """Those that are gone, or ours, by now."""
    kept = [path for path in backup.kept(REPLACED) if "rsyslog.d" in path.parts]
    return {path: _text(REPLACED / path.relative_to("/")) for path in kept}


def _write(file: Path, content: str) -> None:
    half = file.with_name(file.name + ".new")
    half.write_text(content)
    half.chmod(0o644)
    half.rename(file)


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return ""
