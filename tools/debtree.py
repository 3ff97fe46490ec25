"""The Python environment of the Debian package: our source, the libraries it needs, their bytecode.

It is for Debian's own Python. The libraries are copied from a virtual environment file by file, each compared with the
digest that its wheel gives for it: from .venv where that was made for the same Python, else from a folder made for
this. Refuses versions other than those of packaging/constraints.txt, with which the tests ran.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution
from importlib.metadata import distributions as found_in
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "packaging" / "constraints.txt"
LOCK = ROOT / "packaging" / "requirements.lock"
"""The same versions with the digests of their wheels; tools/lock.py writes it."""
PYTHON = "/usr/bin/python3"
"""Debian's own, which the package runs on; the python3 of PATH may be another."""

UNUSED = re.compile(
    r"""(^|/)(tests?|include)/  # tests and headers
    |^numpy/_core/_\w+_tests\.
    |^numpy/(f2py|distutils|typing/tests|_pyinstaller|_core/lib)/
    |\.(a|h|hpp|c|cc|cpp|pyx|pxd|pxi|pyi)$  # to build and check other programs with
    |^(adbc_driver_duckdb|_duckdb-stubs|duckdb/experimental)/
    |^pyarrow/(src|_flight|_s3fs|_pyarrow_cpp_tests|jvm|cffi|flight|conftest)[^/]*
    |^pyarrow/libarrow_(flight|python_flight|s3)\.so
    |^pyarrow/libarrow_python\w*\.so(\.\d+\.\d+\.\d+)?$  # copies of the one that is loaded, libarrow_python.so.NNNN
    |(^|/)(RECORD|INSTALLER|REQUESTED|direct_url\.json|WHEEL|entry_points\.txt)$
    |^bin/|^\.\./""",
    re.VERBOSE,
)
"""What of the wheels nothing here can reach. Arrow's clients of Flight and S3 are 80 MB that nobody calls."""
LICENSE = re.compile(r"\.dist-info/.*(LICEN|COPYING|NOTICE|AUTHORS)")


class BuildError(Exception):
    """One sentence that says what to do."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What a command printed. BuildError with its last lines when it fails."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).splitlines()[-5:])
        raise BuildError(f"{command[0]} failed with status {done.returncode}:\n{last}")
    return done.stdout


def python_version() -> str:
    """X.Y of Debian's Python."""
    return run(PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()


def library_folder() -> str:
    """Debian's name of the architecture for folders: /usr/lib/NAME has its libraries."""
    return run(PYTHON, "-c", "import sysconfig; print(sysconfig.get_config_var('MULTIARCH'))").strip()


def pinned() -> dict[str, str]:
    """The version of each library, by its normal name."""
    lines = (line.split("#")[0].strip() for line in CONSTRAINTS.read_text().splitlines())
    return {_normal(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def libraries(work: Path) -> list[Distribution]:
    """The distributions that the program needs, in pinned versions, from .venv or an environment below `work`."""
    version = python_version()
    here = Path(sysconfig.get_path("purelib"))
    if version == sysconfig.get_python_version() and not _differing(here):
        return list(_needed(here))
    place = work / f"libraries-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}-{version}"
    if not place.exists():
        shutil.rmtree(work / "libraries.new", ignore_errors=True)
        wanted = ["--python-version", version, "--only-binary=:all:", "--no-deps", "--no-compile"]
        run(sysconfig.get_path("scripts") + "/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            *wanted, "--require-hashes", "--target", work / "libraries.new", "-r", LOCK)  # fmt: skip
        (work / "libraries.new").rename(place)
    if differing := _differing(place):
        raise BuildError(f"packaging/constraints.txt disagrees with what pip installed: {', '.join(differing)}")
    return list(_needed(place))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements(distribution: Distribution) -> Iterator[str]:
    """Names of what it needs, without what only an extra or another system does."""
    for line in distribution.requires or []:
        name, _, condition = line.partition(";")
        if not re.search(r"extra|platform_system|sys_platform|python_version", condition):
            yield _normal(re.split(r"[\s<>=!~\[(]", name.strip())[0])


def _needed(place: Path) -> Iterator[Distribution]:
    """Those that pyproject.toml asks for, and those that they ask for. KeyError when one is not there."""
    found = {_normal(each.metadata["Name"]): each for each in found_in(path=[str(place)])}
    todo, seen = [_normal(name) for name in _direct()], set[str]()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += _requirements(found[name])
    yield from (found[name] for name in sorted(seen))


def _direct() -> Iterator[str]:
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    yield from re.findall(r'"([\w.-]+)', listed[1] if listed else "")


def _differing(place: Path) -> list[str]:
    """Libraries in versions other than the pinned ones, or not there."""
    try:
        needed = {_normal(each.metadata["Name"]): each.version for each in _needed(place)}
    except KeyError as missing:
        return [f"{missing.args[0]} is not there"]
    versions = pinned()
    return [f"{name} {version}" for name, version in needed.items() if versions.get(name) != version]


def copy_libraries(distributions: list[Distribution], site: Path) -> None:
    """Every file of the wheels that is of use, into the folder for libraries."""
    for distribution in distributions:
        for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
            path, digest = row[0], row[1]
            if UNUSED.search(path) or "__pycache__" in path:
                continue
            content = Path(str(distribution.locate_file(path))).read_bytes()
            if digest != "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("="):
                raise BuildError(f"{path} is not as in the wheel of {distribution.name}: remove .venv, `make setup`")
            target = site / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o644)


def copy_program(site: Path, version: str) -> None:
    """Our own package, which says the package's version as its own."""
    shutil.copytree(ROOT / "src" / "anetcon", site / "anetcon", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (site / "anetcon").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    own = site / "anetcon" / "__init__.py"
    own.write_text(re.sub(r"^__version__ = .*$", f'__version__ = "{version}"', own.read_text(), flags=re.MULTILINE))


def compile_bytecode(site: Path, installed: str) -> None:
    """Bytecode beside every module, which dpkg then knows of; trusted without a look at the source: both are ours."""
    options = ["-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", str(site), "-p", installed]
    run(PYTHON, "-I", "-m", "compileall", *options, site)


def make_environment(place: Path, installed: str) -> None:
    """What makes a folder a virtual environment of Debian's Python, and the program that is typed."""
    version = python_version()
    (place / "bin").mkdir(parents=True, exist_ok=True)
    (place / "bin" / "python").symlink_to(f"../../../../bin/python{version}")  # relative: Debian's policy
    settings = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}\n"
    (place / "pyvenv.cfg").write_text(settings)
    script = place / "bin" / "anetcon"
    script.write_text(f"#!{installed}/bin/python\nfrom anetcon.cli.main import main\n\nmain()\n")
    script.chmod(0o755)


def licenses(distributions: list[Distribution]) -> Iterator[str]:
    """Name, version, origin and the whole text of the licence of each library."""
    for each in distributions:
        home = (each.metadata.get_all("Home-page") or each.metadata.get_all("Project-URL") or [""])[0]
        yield f"{each.name} {each.version} ({home.rpartition(' ')[2]})"
        found = [path for path in each.files or [] if LICENSE.search(str(path))]
        if not found:
            raise BuildError(f"the wheel of {each.name} has no licence text: add it to packaging/deb/copyright")
        for path in found:
            yield f"--- {path.name} ---\n\n{Path(str(path.locate())).read_text()}"
