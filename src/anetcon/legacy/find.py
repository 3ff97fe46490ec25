"""The bash ANetCon on this machine: what of it runs, what starts it, and which files are its own.

It is known by its script: `anetcon.sh` executed by a shell, wherever that lies, or a shell script that a unit called
anetcon.service starts. An editor or a search with that name among its arguments is none, nor is our own daemon. What
runs in another container is told, and is not ours to stop. Refuses to change anything.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from anetcon.doctor import processes
from anetcon.doctor.processes import HostProcess
from anetcon.install.places import OLD_CONFIGURATION, UNIT
from anetcon.legacy import autostart as starters

SCRIPT = "anetcon.sh"
SHELLS = {"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"}
UNITS = ("etc/systemd/system", "run/systemd/transient", "usr/local/lib/systemd/system", "usr/lib/systemd/system")
OURS = "Made by `anetcon "
"""In the head of our own files for rsyslog and logrotate."""
UNFINISHED = "/etc/anetcon/takeover-unfinished"
"""There from the first step of a takeover to its last."""
OUR_DROP_INS = {"50-engine.conf", "50-folders.conf", "50-place.conf"}

_SORTS = re.compile(r"^[^#\n]*anetcon\.(nat|float)\.log", re.MULTILINE)
_ROTATES = re.compile(r"^[^#\n]*anetcon\.(nat|float)\.log|^[^#\n]*/anetcon/\*", re.MULTILINE)
_STARTS = re.compile(r"^\s*ExecStart\s*=\s*[-@:+!]*(?P<command>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Running:
    """One script that runs. `unit` is what systemd started it by; empty: somebody else did."""

    pid: int
    words: tuple[str, ...]
    unit: str = ""
    folder: str = "/"
    unit_file: Path | None = None
    """Of a unit that has not our name."""

    @property
    def configuration(self) -> Path:
        """The file it was told to read, or the one it reads without being told."""
        given = self.words[_script_at(self.words) + 1 :]
        named = next((after for word, after in itertools.pairwise(given) if word == "-c"), OLD_CONFIGURATION)
        return Path(self.folder, named)


@dataclass(frozen=True)
class Old:
    """What there is of it. Paths are those of the machine; `elsewhere` are processes in other containers."""

    running: tuple[Running, ...] = ()
    elsewhere: tuple[int, ...] = ()
    unit: Path | None = None
    drop_ins: tuple[Path, ...] = ()
    snippets: tuple[Path, ...] = ()
    rotations: tuple[Path, ...] = ()
    configuration: Path | None = None
    unfinished: bool = False
    """Whether a takeover from it was interrupted."""
    starters: tuple[str, ...] = ()
    """What else starts it, in words: that stays, and is said."""

    def __bool__(self) -> bool:
        return bool(self.running or self.unit or self.unfinished)

    @property
    def by_our_unit(self) -> bool:
        """Whether a unit of our name runs it."""
        return any(each.unit == UNIT for each in self.running)

    @property
    def files(self) -> tuple[Path, ...]:
        """What is to be kept aside."""
        units = [self.unit, *(each.unit_file for each in self.running)]
        return (*dict.fromkeys(unit for unit in units if unit), *self.drop_ins, *self.snippets, *self.rotations)


def find(root: Path = Path("/"), proc: Path = processes.PROC) -> Old:
    """What there is of it below `root`, and among the processes."""
    unit = next((path for path in _unit_files(root, UNIT) if scripts(_read(path), root)), None)
    script_names = {SCRIPT, *(Path(each).name for each in (scripts(_read(unit), root) if unit else ()))}
    every = processes.every(proc)
    ours, elsewhere = [], []
    for each in first(every, script_names):
        if _is_elsewhere(each.pid, proc):
            elsewhere.append(each.pid)
        else:
            ours.append(_running(each, root, proc))
    units = {Path("/etc/systemd/system", UNIT), *(each.unit_file for each in ours if each.unit_file)}
    configuration = ours[0].configuration if ours else Path(OLD_CONFIGURATION)
    place = root / str(configuration).lstrip("/")
    return Old(
        tuple(ours),
        tuple(elsewhere),
        unit and _inside(unit, root),
        tuple(_inside(path, root) for path in (_drop_ins(root) if unit else ())),
        tuple(_inside(path, root) for path in _theirs(root / "etc/rsyslog.d", "*.conf", _SORTS)),
        tuple(_inside(path, root) for path in _theirs(root / "etc/logrotate.d", "*", _ROTATES)),
        configuration if place.exists() else None,
        (root / UNFINISHED.lstrip("/")).exists(),
        tuple(starters.find(root, script_names, units)),
    )


def scripts(unit: str, root: Path = Path("/")) -> list[str]:
    """The shell scripts that a unit's text starts, if it is one of the bash ANetCon."""
    found = []
    for match in _STARTS.finditer(unit):
        try:
            words = shlex.split(match["command"])
        except ValueError:
            words = match["command"].split()
        at = _script_at(words)
        path = words[at] if at < len(words) else ""
        if Path(path).name == SCRIPT or (at < len(words) and _is_shell_script(root / path.lstrip("/"))):
            found.append(path)
    return found


def executes(words: Iterable[str], names: Iterable[str] = (SCRIPT,)) -> bool:
    """Whether a command line is that of a shell executing a script of one of these names."""
    given = list(words)
    at = _script_at(given)
    return at < len(given) and Path(given[at]).name in names


def _script_at(words: Iterable[str]) -> int:
    """Where in a command line the script is: behind the shell and its options; past the end where there is none."""
    given = list(words)
    if not given or Path(given[0]).name.lstrip("-") not in SHELLS:
        return 0
    at = 1
    while at < len(given) and len(given[at]) > 1 and given[at][0] in "-+":
        option = given[at]
        if option == "--":
            return at + 1
        if not option.startswith("--") and "c" in option:
            return len(given)  # a command, no script
        takes_another = option in ("--rcfile", "--init-file") or (option[1] != "-" and option[-1] in "oO")
        at += 2 if takes_another else 1
    return at


def _is_shell_script(path: Path) -> bool:
    if path.name == "anetcon":  # ours; pip may give it a first line with sh in it
        return False
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.readline(256).decode(errors="replace").split()
        names = {Path(word.removeprefix("#!")).name for word in head}
        return bool(head) and head[0].startswith("#!") and not names.isdisjoint(SHELLS)
    return False


def first(every: Mapping[int, HostProcess], names: Iterable[str] = (SCRIPT,)) -> Iterator[HostProcess]:
    """Each script that runs, and not its subshells, which have the same command line."""
    found = {each.pid: each for each in every.values() if each.state != "Z" and executes(each.words, names)}
    yield from (each for each in found.values() if each.parent not in found)


def _running(script: HostProcess, root: Path, proc: Path) -> Running:
    unit, folder = _unit_of(script.pid, root, proc), _folder(script.pid, proc)
    files = _unit_files(root, unit) if unit not in ("", UNIT) else ()
    return Running(script.pid, script.words, unit, folder, next((_inside(path, root) for path in files), None))


def _is_elsewhere(pid: int, proc: Path) -> bool:
    """Whether a process is in another container: in a PID namespace of its own, or below another root."""
    with contextlib.suppress(OSError):
        here, there = proc / "self", proc / str(pid)
        same_pids = (here / "ns/pid").stat().st_ino == (there / "ns/pid").stat().st_ino
        roots = [(each.stat().st_dev, each.stat().st_ino) for each in (here / "root", there / "root")]
        return not same_pids or roots[0] != roots[1]
    return False


def _unit_of(pid: int, root: Path, proc: Path) -> str:
    """The service that started a script: the one whose control group it is in, if that names the script."""
    with contextlib.suppress(OSError):
        for line in (proc / str(pid) / "cgroup").read_text().splitlines():
            name = line.rpartition("/")[2]
            if name == UNIT or (name.endswith(".service") and _starts_script(name, root)):
                return name
    return ""


def _starts_script(name: str, root: Path) -> bool:
    return any(SCRIPT in script for path in _unit_files(root, name) for script in scripts(_read(path), root))


def _folder(pid: int, proc: Path) -> str:
    with contextlib.suppress(OSError):
        return str((proc / str(pid) / "cwd").readlink())
    return "/"


def _unit_files(root: Path, name: str) -> Iterator[Path]:
    for folder in UNITS:
        path = root / folder / name
        if path.exists() or path.is_symlink():
            yield path


def _drop_ins(root: Path) -> list[Path]:
    folder = root / UNITS[0] / f"{UNIT}.d"
    return sorted(path for path in folder.glob("*.conf") if path.name not in OUR_DROP_INS) if folder.is_dir() else []


def _theirs(folder: Path, pattern: str, speaks: re.Pattern[str]) -> list[Path]:
    """Files that speak of the old program's logs and are not made by us."""
    files = [path for path in folder.glob(pattern) if path.is_file()] if folder.is_dir() else []
    return sorted(path for path in files if speaks.search(text := _read(path)) and OURS not in text)


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return ""


def _inside(path: Path, root: Path) -> Path:
    return Path("/") / path.relative_to(root)
