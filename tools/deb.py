"""Make the Debian package: `python -m tools.deb [--version V] [--quick] [--to DIR]`; prints its path.

What is installed comes from the one plan that `anetcon install` follows, in Debian's layout; the program and its
libraries are in a tree of their own (tools/debtree.py). As root, or under fakeroot, since files have owners. The same
commit makes the same package, byte by byte: SOURCE_DATE_EPOCH is the commit's time unless it is set.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import os
import re
import shutil
import sys
from email.utils import formatdate
from importlib.metadata import Distribution
from pathlib import Path

import anetcon
from anetcon.config.load import load
from anetcon.install.item import Item, ItemKind
from anetcon.install.places import DEBIAN
from anetcon.install.plan import Choice, plan
from anetcon.install.shipped import shipped
from tools import debtree
from tools.debtree import ROOT, BuildError, run

PACKAGING = ROOT / "packaging" / "deb"
HOME = "/usr/lib/anetcon"
TREE, IN_USE = f"{HOME}/environment", f"{HOME}/current"
"""Where dpkg unpacks the program, and the link under which it runs: packaging/deb/preinst says why."""
LINK = "../lib/anetcon/current/bin/anetcon"
"""What /usr/bin/anetcon is; relative, as Debian's policy wants it below one folder."""
DOCUMENTS = "/usr/share/doc/anetcon"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
QUICK, SMALL = ("-Zzstd", "-z1"), ("-Zxz",)
"""Debian 12 installs both; its archive tools know only the second."""
READERS = {"root": 0, "adm": 4}
"""Groups that files of the package may have: their numbers are the same on every Debian."""


def version() -> str:
    """Of a release its own; of a commit before or after it one that sorts there, and after earlier commits."""
    base = anetcon.__version__
    release = Path("/etc/os-release").read_text()
    system = re.search(r'^VERSION_ID="?(\d+)', release, re.MULTILINE)
    suffix = f"+deb{system[1]}" if system else ""
    try:
        described = run("git", "describe", "--always", "--abbrev=9", "--dirty=.dirty", "--exclude=*", cwd=ROOT).strip()
        tags = run("git", "tag", "--merged", "HEAD", "--list", f"v{base}", cwd=ROOT).split()
        exact = run("git", "tag", "--points-at", "HEAD", "--list", f"v{base}", cwd=ROOT).split()
        count = run("git", "rev-list", "--count", "HEAD", cwd=ROOT).strip()
    except (BuildError, OSError):  # an unpacked archive of a release
        return base + suffix
    if exact and not described.endswith(".dirty"):
        return base + suffix
    return f"{base}{'+' if tags else '~'}git{count}.{described}{suffix}"


def epoch() -> int:
    """The time that every file of the package bears: the commit's, or that of an unpacked archive."""
    given = os.environ.get("SOURCE_DATE_EPOCH") or commit("%ct")
    return int(given or (ROOT / "pyproject.toml").stat().st_mtime)


def commit(what: str) -> str:
    """Something of the commit; empty in an unpacked archive of a release."""
    with contextlib.suppress(BuildError, OSError):
        return run("git", "log", "-1", f"--format={what}", cwd=ROOT).strip()
    return ""


def maintainer() -> str:
    """Who makes the package, as Debian's tools ask; else who made the commit."""
    name, address = os.environ.get("DEBFULLNAME"), os.environ.get("DEBEMAIL")
    if name and address:
        return f"{name} <{address}>"
    return commit("%an <%ae>") or "ANetCon <root@localhost>"


class Package:
    """The tree that becomes the package, below `root`."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.version = name
        self.items = plan(load(environment={}, standard_files=[]), shipped(), Choice(DEBIAN, LINK))

    def place(self, path: str) -> Path:
        """Where a path of the machine is in the tree; the folders above it are made."""
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        """A file."""
        place = self.place(path)
        place.write_bytes(text if isinstance(text, bytes) else text.encode())
        place.chmod(mode)

    def add_items(self) -> None:
        """Files and links of the plan; its folders are made when it is installed, since their owner is."""
        for item in self.items:
            if item.kind is ItemKind.LINK:
                self.place(item.path).symlink_to(item.content.decode())
            elif item.kind is not ItemKind.DIRECTORY:
                self.write(item.path, item.content, item.mode)
                os.chown(self.place(item.path), 0, READERS[item.group])

    def add_program(self, libraries: list[Distribution]) -> None:
        """The program with its libraries, and what is said of them."""
        tree = self.place(TREE)
        site = tree / "lib" / f"python{debtree.python_version()}" / "site-packages"
        site.mkdir(parents=True)
        debtree.copy_libraries(libraries, site)
        debtree.copy_program(site, self.version)
        debtree.make_environment(tree, IN_USE)
        debtree.compile_bytecode(site, f"{IN_USE}/{site.relative_to(tree)}")
        words = [(PACKAGING / "copyright").read_text(), *debtree.licenses(libraries)]
        self.write(f"{DOCUMENTS}/copyright", "\n\n".join(words))

    def add_documents(self) -> None:
        """What is read."""
        entry = f"anetcon ({self.version}) unstable; urgency=medium\n\n  * See CHANGELOG.md beside this file.\n\n"
        entry += f" -- {maintainer()}  {formatdate(epoch())}\n"
        self.write(f"{DOCUMENTS}/changelog.gz", gzip.compress(entry.encode(), 9, mtime=0))
        for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
            self.write(f"{DOCUMENTS}/{path.relative_to(ROOT)}", path.read_text())
        self.write("/usr/share/lintian/overrides/anetcon", (PACKAGING / "lintian-overrides").read_text())

    def add_control(self) -> None:
        """What dpkg reads."""
        control = self.root / "DEBIAN"
        control.mkdir()
        files = sorted(path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        names = [path.relative_to(self.root) for path in files]
        sums = (f"{hashlib.md5(self.root.joinpath(name).read_bytes(), usedforsecurity=False).hexdigest()}  {name}\n"
                for name in names if name.parts[0] != "etc")  # fmt: skip
        (control / "md5sums").write_text("".join(sums))
        (control / "conffiles").write_text("".join(f"/{name}\n" for name in names if name.parts[0] == "etc"))
        words = {
            "VERSION": self.version,
            "LIBRARIES": debtree.library_folder(),
            "ARCHITECTURE": run("dpkg", "--print-architecture").strip(),
            "MAINTAINER": maintainer(),
            "PYTHON": debtree.python_version(),
            "SIZE": str(sum(-(-path.stat().st_size // 1024) for path in files)),
            "FOLDERS": "\n".join(f"  {_made(item)}" for item in self.items if item.kind is ItemKind.DIRECTORY),
        }
        for name in ("control", "triggers", *SCRIPTS):
            text = re.sub(r"@([A-Z]+)@", lambda found: words[found[1]], (PACKAGING / name).read_text())
            (control / name).write_text(text)
            (control / name).chmod(0o755 if name in SCRIPTS else 0o644)

    def settle(self) -> None:
        """Modes of folders, and the time of everything."""
        moment = epoch()
        for path in [self.root, *self.root.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
            os.utime(path, (moment, moment), follow_symlinks=False)


def _made(item: Item) -> str:
    return f"folder {item.mode:04o} {item.owner} {item.group} {item.path}"


def build(name: str, quick: bool, to: Path) -> Path:
    """The package in the folder `to`."""
    work = ROOT / "build" / "deb"
    root = work / f"root-{os.getpid()}"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    try:
        package = Package(root, name)
        package.add_items()
        package.add_program(debtree.libraries(work))
        package.add_documents()
        package.add_control()
        package.settle()
        to.mkdir(parents=True, exist_ok=True)
        os.environ["SOURCE_DATE_EPOCH"] = str(epoch())
        made = to / f"anetcon_{name}_{run('dpkg', '--print-architecture').strip()}.deb"
        run("dpkg-deb", *(QUICK if quick else SMALL), "--build", root, made)
        return made
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Make the Debian package.")
    parser.add_argument("--version", help="instead of the one that follows from the commit")
    parser.add_argument("--quick", action="store_true", help="larger, but in seconds: for tests")
    parser.add_argument("--to", type=Path, default=ROOT / "dist", help="the folder to put it in (default dist)")
    given = parser.parse_args()
    if os.geteuid() != 0:
        if shutil.which("fakeroot") is None:
            print("deb: files of the package have owners: install fakeroot, or run this as root", file=sys.stderr)
            return 1
        os.execvp("fakeroot", ["fakeroot", sys.executable, *sys.argv])  # noqa: S606
    os.umask(0o022)
    try:
        print(build(given.version or version(), given.quick, given.to))
    except BuildError as error:
        print(f"deb: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
