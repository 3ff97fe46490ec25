"""Everything that is installed, as data: made of the configuration that will be used, the same for each layout.

Refuses to look at the file system: what is there, `apply` compares.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from anetcon.config.load import Loaded
from anetcon.config.logrotate import logrotate_text
from anetcon.config.rsyslog import rsyslog_text
from anetcon.config.sample import sample
from anetcon.install import places
from anetcon.install.item import Item, ItemKind
from anetcon.install.places import HOST, Layout
from anetcon.install.shipped import Documents
from anetcon.install.unit import GROUP, SIGN_USER, USER, engine_drop_in, sign_unit_text, unit_text
from anetcon.store.layout import sign_folder

STORE, LOGS, SIGNED = "/var/lib/anetcon", "/var/log/anetcon", "/var/lib/anetcon-sign"
SHARED = ("/", "/var", "/var/lib", "/var/log", "/srv", "/opt", "/etc", "/run", "/tmp")  # noqa: S108 - never ours
FOLDER_MODE, SETTINGS_MODE = 0o750, 0o640
WANTS = "/etc/systemd/system/multi-user.target.wants"
"""Where `systemctl enable` makes its link, as WantedBy= of the unit has it."""
SYSUSERS = f"""\
# Whom the daemon of anetcon runs as, whose members read its records, and who signs them.
g {GROUP} - -
u {USER} - "ANetCon, audit of connections" {STORE}
u {SIGN_USER} - "ANetCon, signatures" {SIGNED}
"""
TABOO = ".dpkg-dist"
"""logrotate reads every file of its folder but those whose names end like this one (tabooext in logrotate.conf(5)):
`.new` is none of them, and would make it complain every night."""


@dataclass(frozen=True)
class Choice:
    """What differs from one installation to the other."""

    layout: Layout = HOST
    link: str | None = None
    """What the program's name is a link to; None where it is that file itself."""
    old_configuration: bool = False
    """Whether there is one of the bash ANetCon, which then stays the configuration."""
    gateway: bool = False
    """Whether the configuration is that of a plain gateway: its own namespace is audited."""
    rsyslog: bool = False
    """Whether rsyslog is to write the text logs."""
    enable: bool = False
    """Whether the service starts at boot. The Debian package leaves that to its scripts."""
    exposed: tuple[str, ...] = ()
    """Folders of the program that lie where the unit hides everything else."""


def plan(loaded: Loaded, documents: Documents, choice: Choice) -> list[Item]:
    """Every item, in the order in which they are made: folders before what is in them."""
    return [
        Item(_kind(choice.layout), choice.layout.sysusers, SYSUSERS.encode()),
        *_folders(loaded),
        *_settings(loaded, choice),
        *_unit(loaded, choice),
        *_documents(documents, choice.layout),
        *([Item(ItemKind.LINK, choice.layout.program, choice.link.encode(), 0o777)] if choice.link else []),
    ]


def _kind(layout: Layout) -> ItemKind:
    """Of what lies in /etc in one layout and in /usr in the other."""
    return ItemKind.CONFIGURATION if layout.editable else ItemKind.PROGRAM


def _folders(loaded: Loaded) -> Iterator[Item]:
    yield Item(ItemKind.DIRECTORY, "/etc/anetcon", mode=0o755)
    for path in folders(loaded):
        yield Item(ItemKind.DIRECTORY, path, mode=FOLDER_MODE, owner=USER, group=GROUP)
    yield Item(ItemKind.DIRECTORY, _signed(loaded), mode=FOLDER_MODE, owner=SIGN_USER, group=GROUP)


def _signed(loaded: Loaded) -> str:
    """Where who signs writes."""
    return str(sign_folder(Path(loaded.config.store.path)))


def folders(loaded: Loaded) -> list[str]:
    """Where the daemon writes: folders of its own, which does not go for those that hold everybody's."""
    logs, store = loaded.config.logs, loaded.config.store
    files = [each for each in (logs.file, logs.namespace_hash_file) if each]
    files += [sink.path for sink in loaded.config.every_sink.values()]
    found = [store.path, *([logs.dir] if logs.enabled else []), *(str(PurePosixPath(file).parent) for file in files)]
    return [path for path in dict.fromkeys(found) if path not in SHARED]


def _settings(loaded: Loaded, choice: Choice) -> Iterator[Item]:
    def text(path: str, content: str, mode: int = 0o644, group: str = "root", aside: str = ".new") -> Item:
        return Item(ItemKind.CONFIGURATION, path, content.encode(), mode, group=group, aside=aside)

    if not choice.old_configuration:
        yield text(places.TOML, sample(choice.gateway), SETTINGS_MODE, GROUP)
    yield text(places.LOGROTATE, logrotate_text(loaded.config), aside=TABOO)
    if choice.rsyslog:
        yield text(places.RSYSLOG, rsyslog_text(loaded.config.logs, GROUP))


def _unit(loaded: Loaded, choice: Choice) -> Iterator[Item]:
    layout = choice.layout
    kind = _kind(layout)
    yield Item(kind, layout.unit, unit_text(layout.program).encode())
    drop_ins = {
        "50-engine": engine_drop_in(loaded.config.audit.engine),
        "50-folders": _folders_drop_in(loaded),
        "50-place": _place_drop_in(choice.exposed),
    }
    for name, content in drop_ins.items():
        if content is not None:
            yield Item(kind, layout.drop_in(name), content.encode())
    yield Item(kind, layout.sign_unit, sign_unit_text(layout.program).encode())
    for name, content in {"50-folders": _sign_drop_in(loaded), "50-place": drop_ins["50-place"]}.items():
        if content is not None:
            yield Item(kind, layout.drop_in(name, places.SIGN_UNIT), content.encode())
    if choice.enable:
        yield Item(ItemKind.LINK, f"{WANTS}/{places.UNIT}", layout.unit.encode(), 0o777)


def _folders_drop_in(loaded: Loaded) -> str | None:
    """Folders that the unit cannot know of, for it to leave them writable, and to wait for their file systems."""
    return _writable([path for path in folders(loaded) if path not in (STORE, LOGS)])


def _sign_drop_in(loaded: Loaded) -> str | None:
    """The same for who signs."""
    return _writable([path for path in [_signed(loaded)] if path != SIGNED])


def _writable(others: list[str]) -> str | None:
    if not others:
        return None
    mounts = "".join(f"RequiresMountsFor={_word(path)}\n" for path in others)
    lines = "".join(f"ReadWritePaths={_word(f'-{path}')}\n" for path in others)
    return f"# Folders of the configuration. Written by `anetcon install`.\n[Unit]\n{mounts}[Service]\n{lines}"


def _place_drop_in(exposed: tuple[str, ...]) -> str | None:
    """The program's own folders, where they lie in home directories."""
    if not exposed:
        return None
    lines = "".join(f"BindReadOnlyPaths={_word(path)}\n" for path in exposed)
    return (
        "# The program lies in a home directory: that much of them is shown to the service, read-only, and nothing\n"
        f"# else. Written by `anetcon install`.\n[Service]\nProtectHome=tmpfs\n{lines}"
    )


def _word(text: str) -> str:
    """One word of a unit, whatever is in it (systemd.syntax(7)); `%` would begin a specifier."""
    if re.fullmatch(r"[\w/.+@,=-]+", text, re.ASCII):
        return text
    return '"' + re.sub(r'[\\"]', r"\\\g<0>", text).replace("%", "%%") + '"'


def _documents(documents: Documents, layout: Layout) -> Iterator[Item]:
    for (name, section), text in documents.man.items():
        content = gzip.compress(text.encode(), 9, mtime=0) if layout.compress else text.encode()
        yield Item(ItemKind.PROGRAM, layout.man(name, section), content)
    for shell, text in documents.completion.items():
        yield Item(ItemKind.PROGRAM, layout.completion(shell), text.encode())
