"""Man pages and completion as they are shipped: the folder `share` of the package, which `make docs` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources


@dataclass(frozen=True)
class Documents:
    """What derives from the command line: man pages by (name, section), completion by shell."""

    man: Mapping[tuple[str, int], str] = field(default_factory=dict)
    completion: Mapping[str, str] = field(default_factory=dict)


def shipped() -> Documents:
    """Those of this program."""
    share = resources.files("anetcon") / "share"
    man = {}
    for page in (share / "man").iterdir():
        name, _, section = page.name.rpartition(".")
        man[name, int(section)] = page.read_text()
    return Documents(man, {script.name: script.read_text() for script in (share / "completion").iterdir()})
