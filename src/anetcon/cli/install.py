"""`anetcon install`: put the program on this host as a service, or into the tree of an image."""

from __future__ import annotations

import contextlib
import os
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from anetcon import bash
from anetcon.cli.config_cmd import require_taken_over
from anetcon.cli.options import STORE
from anetcon.cli.people import say
from anetcon.config.load import Loaded, load
from anetcon.config.sample import sample
from anetcon.errors import AlreadyRunningError, AnetconError, ConfigError, PermissionMissingError
from anetcon.install import apply, debian, gateway, places, program, service
from anetcon.install.apply import Step
from anetcon.install.installed import Manifest
from anetcon.install.item import Item
from anetcon.install.one_at_a_time import alone
from anetcon.install.places import HOST
from anetcon.install.plan import WANTS, Choice, plan
from anetcon.install.shipped import shipped
from anetcon.install.tree import Tree
from anetcon.link.engine_kinds import KINDS
from anetcon.store.coverage import running

if bash.has("legacy"):
    from anetcon.legacy import takeover


def _named(given: str | Path) -> Path:
    """What is given as a root. No name at all is a variable that is not set: the folder one is in is not meant."""
    if not str(given):
        raise typer.BadParameter("it is empty: name a folder")
    return Path(given)


RootOption = Annotated[
    Path,
    typer.Option(
        "--root",
        metavar="DIR",
        parser=_named,
        help="Tree to work in, such as an image; nothing that runs is touched.",
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print every step and take none.")]
HERE = Path("/")
START = "nothing was started"
STAYS_DISABLED = f"the service does not start at boot, and that stays so: `systemctl enable --now {places.UNIT}`"
GOES_ON = "the daemon goes on as it was until it is restarted"


@dataclass(frozen=True)
class Installation:
    """What is to be installed, and where."""

    tree: Tree
    loaded: Loaded
    items: list[Item]
    link: str | None
    manifest: Manifest
    packages: list[Item]
    """What is not installed because the Debian package has brought it."""
    proposes: bool
    """Whether it writes a configuration for a plain gateway, where there was none."""
    starts: bool
    """Whether the service is to run now: it starts at boot, or is installed for the first time."""


def install(
    root: RootOption = HERE,
    dry_run: DryRunOption = False,
    rsyslog: Annotated[bool, typer.Option("--rsyslog", help="Let rsyslog write the text logs (LOG engines).")] = False,
    no_start: Annotated[bool, typer.Option("--no-start", help="Do not start the service, now or at boot.")] = False,
) -> None:
    """Install the service on this host, or into a tree.

    Run again, it brings everything up to date, and a running daemon goes on as the new program without a gap. A
    service that somebody disabled stays disabled. If somebody edited the configuration, install writes the new file
    beside it. If the bash ANetCon is here, install takes over from it; at every moment one of the two records.
    """
    os.umask(0o022)
    root = normal(root)
    with contextlib.nullcontext() if dry_run else alone(root):
        _install(root, dry_run, rsyslog, no_start)


def _install(root: Path, dry_run: bool, rsyslog: bool, no_start: bool) -> None:
    is_host = root == HERE and os.geteuid() == 0
    old = takeover.predecessor(no_start, say) if is_host and bash.has("legacy") else None
    configuration = old.configuration if old else None
    found = find(root, rsyslog=rsyslog, enable=not no_start, configuration=configuration)
    taking = takeover.Takeover(old, found.loaded, lambda: carry_out(found, steps), say) if old else None
    replaced = taking.replaces if taking else set()
    steps = [*_instead(found, configuration, replaced), *apply.steps(found.tree, found.items, found.manifest, replaced)]
    actions = [] if taking else _actions(found, steps)
    for line in [*steps, *(taking.steps() if taking else actions)]:
        say(str(line))
    if found.tree.is_host and (actions or any(step.changes for step in steps)):
        say(f"{'audits':8} {gateway.audited(found.loaded, found.proposes)}")
    if not dry_run:
        taking.carry_out() if taking else carry_out(found, steps)
        for action in actions:
            service.do(action)
        found.manifest.program = program.fingerprint()
        found.manifest.save()
    if not (found.starts or no_start or taking):
        say(STAYS_DISABLED)
    _say_last(found, steps, actions, dry_run)


def normal(root: Path) -> Path:
    """The root as given, but that of this host by its one name: `//` and `/proc/self/root` are no trees of images."""
    return HERE if root.is_dir() and root.samefile(HERE) else root


def find(
    root: Path,
    rsyslog: bool = False,
    enable: bool = True,
    uninstalling: bool = False,
    configuration: Path | None = None,
) -> Installation:
    """The plan for a root, from the configuration in it, or that of the bash ANetCon there. Raises AnetconError before
    anything is written."""
    if not root.is_dir():
        raise ConfigError(f"{root} is no directory: make it, or give another --root")
    tree = Tree(root)
    if tree.is_host and not tree.privileged:
        raise PermissionMissingError("the service of this host is installed by root: run it as root, or give --root")
    manifest = Manifest(tree, HOST)
    loaded = settings(tree, configuration)
    engine = loaded.config.audit.engine
    kernel_lines = KINDS[engine].kernel_log
    if rsyslog and not kernel_lines:
        raise ConfigError(
            f"engine {engine} has no kernel lines that rsyslog could write: leave --rsyslog away, or set "
            "audit.engine to a LOG engine"
        )
    folders = program.folders()
    if tree.is_host and not uninstalling:
        program.require_lasting(folders)
        debian.refuse_another(tree)
    link = _link(tree)
    first = not manifest.program and not (tree.is_host and debian.was_disabled(tree))
    fresh = tree.status(places.TOML) is None and not (configuration or tree.status(places.OLD_CONFIGURATION))
    proposes = fresh and tree.is_host and not uninstalling and gateway.is_plain(loaded.config.audit.netns_dir)
    at_boot = tree.status(f"{WANTS}/{places.UNIT}") is not None or (enable and first)
    choice = Choice(
        link=link,
        old_configuration=bool(configuration or tree.status(places.OLD_CONFIGURATION))
        and tree.status(places.TOML) is None,
        gateway=proposes or _is_gateways(tree),
        rsyslog=rsyslog or (kernel_lines and places.RSYSLOG in manifest.paths),
        enable=at_boot,
        exposed=program.in_homes([_seen(tree, folder) for folder in folders]),
    )
    items = plan(loaded, shipped(), choice)
    own = items
    if tree.is_host and debian.is_packaged():
        own = debian.left(items)
        debian.give_up(manifest)
    packages = [item for item in items if item not in own]
    return Installation(tree, loaded, own, link, manifest, packages, proposes, enable and at_boot)


def _is_gateways(tree: Tree) -> bool:
    """Whether the configuration says what was proposed once: it stays so, whatever the host is now."""
    try:
        return tomllib.loads((tree.read(places.TOML) or b"").decode()) == tomllib.loads(sample(gateway=True))
    except ValueError:
        return False


def settings(tree: Tree, configuration: Path | None = None) -> Loaded:
    """The configuration that the daemon will use there; without a TOML, the one a bash ANetCon uses now."""
    names = [places.TOML, str(configuration or places.OLD_CONFIGURATION)]
    if debian.is_packaged() and debian.is_unused_sample(tree, configuration):
        names.remove(places.TOML)
    files = [tree.place(name) for name in names]
    return load(environment={}, rsyslog_file=tree.place(places.RSYSLOG), standard_files=files)


def carry_out(found: Installation, steps: Sequence[Step]) -> None:
    """Do it, the manifest first: whatever happens then, our files are known."""
    found.manifest.expect(found.items)
    for step in steps:
        apply.carry_out(found.tree, step)
    found.manifest.settle(found.items)


def _instead(found: Installation, configuration: Path | None, replaced: set[str]) -> list[Step]:
    return list(debian.instead(found.tree, found.packages, configuration, replaced)) if found.packages else []


def _seen(tree: Tree, path: Path) -> Path:
    """A path as the tree's machine sees it: what lies in the tree, from its root; all else is taken to be there."""
    return path if tree.is_host or not path.is_relative_to(tree.root) else Path("/", path.relative_to(tree.root))


def _link(tree: Tree) -> str | None:
    """What the program's name in the tree points to; None where that is the program itself."""
    script = program.script()
    place = tree.place(HOST.program)
    return None if script == place and not script.is_symlink() else str(_seen(tree, script.resolve()))


def _actions(found: Installation, steps: Sequence[Step]) -> list[service.Action]:
    if not (found.tree.is_host and service.has_systemd()):
        return []
    state, store = service.look(), Path(found.loaded.config.store.path)
    if found.starts and (pid := running(store)) is not None and not state.is_its(pid):
        raise AlreadyRunningError(
            f"the daemon with process id {pid} owns the store {store}, and was not started as the service: stop it, "
            "then install again"
        )
    in_place = not state.active or _takes_over(found.loaded, state.pid)
    actions = service.after_install(state, _changed(found, steps), sys.executable, found.starts, in_place)
    return [*actions, *(debian.at_boot(found.tree) if found.packages and found.starts else [])]


def _takes_over(loaded: Loaded, daemon: int) -> bool:
    """Whether the configuration is one that the daemon that runs can go on with."""
    try:
        require_taken_over(loaded, str(daemon))
    except AnetconError:
        return False
    return True


def _changed(found: Installation, steps: Sequence[Step]) -> service.Changed:
    paths = [step.path for step in steps if step.changes and step.verb is not apply.Verb.ASIDE]
    return service.Changed(
        units=any(path.startswith(f"{HOST.units}/") for path in paths),
        program=not found.packages and found.manifest.program != program.fingerprint(),  # dpkg sees to its own
        rsyslog=places.RSYSLOG in paths,
    )


def _what_runs(found: Installation, actions: Sequence[service.Action]) -> str:
    store = Path(found.loaded.config.store.path)
    if running(store) is not None:
        at = "" if store == STORE else f" --store {store}"
        return f"see how it does: `anetcon status{at}`, `anetcon doctor`"
    return GOES_ON if service.NEXT_START in actions else START


def _say_last(found: Installation, steps: Sequence[Step], actions: Sequence[service.Action], dry_run: bool) -> None:
    changes = [step for step in steps if step.changes]
    if not changes and not actions:
        say("nothing to do: everything is installed")
    elif dry_run:
        say("nothing was changed: --dry-run")
    elif not found.tree.is_host:
        say(f"installed in {found.tree.root}")
    else:
        say(f"installed; {_what_runs(found, actions)}")
    if found.tree.is_host and not service.has_systemd():
        say(service.NO_SYSTEMD.format(program=HOST.program))
    elif not found.tree.is_host and found.link and found.tree.status(found.link) is None:
        say(f"{found.tree.root} has no {found.link} yet: put the program there, or install from within it")
    if not found.tree.privileged:
        say("not root: all of it belongs to you; as root, or under fakeroot, owners are set, too")
