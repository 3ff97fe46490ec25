"""A configuration as a commented TOML file: what `config migrate` prints of the old format.

Written is what somebody set, or what the old program did without being told, each with its line of help; the file means
the same as the one it was made from. Refuses to write files: the command does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from anetcon.config.load import DEFAULT, SETTINGS, Loaded
from anetcon.config.model import TABLES, value_of
from anetcon.config.toml_text import described, value_text

ADVICE = {
    "audit.engine": 'Recommended: "conntrack". It needs no rule in any router, so that nobody can move or wipe it, and '
    "it records the public address and port of every connection, its end and its bytes. LOG rules tell none of that. "
    "Change this line, and the protocols, when nothing depends on the kernel's lines any more.",
    "audit.protocols": 'The old program knew TCP alone; "all" is the default elsewhere.',
}
"""What is said beyond the help of a setting."""


def toml(loaded: Loaded) -> str:
    """The text of the file."""
    return "\n".join(_lines(loaded)) + "\n"


def _lines(loaded: Loaded) -> Iterator[str]:
    yield f"# Made from {loaded.file} by `anetcon config migrate`; docs/reference/configuration.md has every setting."
    table = ""
    given = [key for key in SETTINGS if loaded.sources[key] != DEFAULT]
    tables = ["", *TABLES]

    def order(key: str) -> tuple[int, bool]:
        """Tables as the model has them; in each the settings that are tables themselves come last, as TOML needs it."""
        return tables.index(key.rpartition(".")[0]), isinstance(value_of(loaded.config, key), dict)

    for key in sorted(given, key=order):
        if not key.startswith(f"{table}.") and "." in key:
            table = key.partition(".")[0]
            if any(each.startswith(f"{table}.") and each != "audit.networks" for each in given):
                yield from ("", f"[{table}]")
        value = value_of(loaded.config, key)
        yield ""
        yield from described(SETTINGS[key].help, ADVICE.get(key, ""))
        if isinstance(value, dict):
            yield f"[{key}]"
            yield from (
                f"{json.dumps(name, ensure_ascii=False)} = {value_text(entry)}" for name, entry in value.items()
            )
        else:
            yield f"{key.rpartition('.')[2]} = {value_text(value)}"
