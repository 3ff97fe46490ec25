"""The sinks that are configured, each with its own reader of the journal. A new type of sink has its entry in KINDS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from anetcon.follow.after_others import AfterOthers
from anetcon.follow.reader import JournalReader, Sink
from anetcon.follow.settings import Settings
from anetcon.follow.sinks.json_file import JsonFile
from anetcon.follow.sinks.text import TextLogs

TEXT = "text"
"""The name of the saved position of the text logs, which no sink that is configured may have."""

KINDS: dict[str, Callable[[Mapping[str, str]], Sink]] = {
    "json": lambda wanted: JsonFile(Path(wanted["to"].removeprefix("file:"))),
}
"""By `type` of `[sinks.NAME]`."""


class Configured(NamedTuple):
    """A sink's name, what it is called to people, and what makes its reader, again after a failure."""

    name: str
    title: str
    make: Callable[[], JournalReader]


def configured(settings: Settings) -> Iterator[Configured]:
    """Every sink there is to be."""
    if settings.logs:
        yield Configured(TEXT, "text logs", partial(text_logs, settings))
    for name, wanted in settings.sinks.items():
        yield Configured(name, f"sink {name}", partial(_sink, settings.store, name, wanted))


def text_logs(settings: Settings) -> JournalReader:
    """The text logs' reader."""
    return JournalReader(settings.store, TEXT, AfterOthers(TextLogs(settings), settings.store), "text logs")


def _sink(store: Path, name: str, wanted: Mapping[str, str]) -> JournalReader:
    return JournalReader(store, name, KINDS[wanted["type"]](wanted), f"sink {name}")
