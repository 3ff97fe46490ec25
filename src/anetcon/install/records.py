"""The records and logs of a host, for --purge: which files they are, how much, and taking them away.

Of the folders that are ours by name everything; of any other only what the program itself makes there: a store that was
put into a folder with other things in it must not cost those.
"""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Iterator
from pathlib import Path

from anetcon.config.model import Config
from anetcon.install.plan import LOGS, SIGNED, STORE
from anetcon.install.tree import Tree, named
from anetcon.store.layout import sign_folder

STORED = (
    *("lock", "sealing.lock", "importing.lock", "*.json", "*.jsonl", "*.json.new", "*.jsonl.new", "namespace.hash*"),
    *("journal", "import", "followers", "spill-*", "node=*"),
    *("open", "gaps", "addresses", "neighbours", "routes", "listings"),
)
LOGGED = ("anetcon.nat.log*", "anetcon.float.log*", "anetcon.log*")
ALL = ("*",)
"""What there is in a store, and in the folder of the logs; in folders that are ours by name."""


def places(tree: Tree, config: Config) -> list[Path]:
    """Every file and folder that would go, as it is in the tree."""
    logs, store = config.logs, config.store
    wanted: list[tuple[str, tuple[str, ...]]] = [
        *((STORE, ALL), (LOGS, ALL), (SIGNED, ALL), (store.path, STORED), (logs.dir, LOGGED)),
        (str(sign_folder(Path(store.path))), ALL),
    ]
    files = [logs.file, logs.namespace_hash_file or "", *(sink.path for sink in config.every_sink.values())]
    wanted += [_one(file) for file in files if file]
    found = [place for folder, patterns in wanted for place in _matching(tree, folder, patterns)]
    return list(dict.fromkeys(found))


def _one(file: str) -> tuple[str, tuple[str, ...]]:
    folder, _, name = file.rpartition("/")
    return folder, (f"{name}*",)


def _matching(tree: Tree, folder: str, patterns: tuple[str, ...]) -> Iterator[Path]:
    if tree.is_directory(folder):
        for place in sorted(tree.folder(folder).iterdir()):
            if any(fnmatch.fnmatchcase(place.name, pattern) for pattern in patterns):
                yield place


def size(found: list[Path]) -> int:
    """Bytes of all of it."""
    every = (inner for place in found for inner in ([place, *place.rglob("*")] if place.is_dir() else [place]))
    return sum(each.lstat().st_size for each in every if not each.is_dir())


def remove(place: Path) -> None:
    """Take one away, whatever it is."""
    try:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    except OSError as error:
        raise named(error, Path(error.filename or place), "remove") from error
