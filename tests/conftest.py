"""What holds for every test: what this machine can test, tiers by folder, a time limit.

- A test in tests/netns or tests/e2e carries the marker of its folder.
- `@pytest.mark.needs("nft", "conntrack")` names what else a test needs (tests/support/machine.py has the words).
- A test that cannot run here is skipped with the reason; with CI=true, in netns and e2e, that is a failure.
- Several tests run at a time, a file's one after the other, and so do those of all files that need a switch which the
  machine has once (`log_all_netns`): they would only wait for each other.
- A test may take three minutes, which a busy machine may need; `@pytest.mark.timeout(300)` gives one another limit. Its
  set-up and clean-up have as much again.
"""

from __future__ import annotations

import functools
import os
import platform
import resource
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped] # it ships no type information

from tests.support.examples import EXAMPLES
from tests.support.machine import CAPABILITIES, TIERS, can, lacking

IN_CI = os.environ.get("CI") == "true"
LONG = EXAMPLES > 100
LIMIT_SECONDS = 7200.0 if LONG else 180.0
TESTS = Path(__file__).parent

sys.dont_write_bytecode = False  # what pytest makes of the tests is kept, whatever the environment says
sys.modules.setdefault("dateutil", None)  # type: ignore[arg-type]
# pyarrow looks for it on the disk at each value it converts, a hundred times an answer, where it is not installed.

# A busy machine is no reason to fail, and two runs of CI see the same examples.
hypothesis.settings.register_profile(
    "house",
    deadline=None,
    derandomize=IN_CI and not LONG,
    max_examples=EXAMPLES,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("house")


def pytest_configure() -> None:
    """Allow as many open files as this user may have: a login shell's 1,024 are too few for hundreds of namespaces."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def pytest_report_header() -> list[str]:
    """Say what this machine can test before anything runs."""
    able = [name for name in CAPABILITIES if can(name)]
    unable = [name for name in CAPABILITIES if not can(name)]
    return [
        f"kernel: {platform.release()}, {os.cpu_count()} processors",
        f"can test: {', '.join(able) or 'nothing special'}",
        *([f"cannot test: {', '.join(unable)}"] if unable else []),
    ]


def _tier(path: Path) -> str:
    """The folder of tests/ a file is in."""
    return path.relative_to(TESTS).parts[0] if path.is_relative_to(TESTS) else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder; what needs least runs first, and last where processes share the work: a file of it is short, so
    that all of them end together."""
    for item in items:
        if _tier(item.path) in TIERS:
            item.add_marker(_tier(item.path))
    order = ["unit", *TIERS]
    items.sort(
        key=lambda item: order.index(_tier(item.path)) if _tier(item.path) in TIERS else 0,
        reverse="PYTEST_XDIST_WORKER" in os.environ,
    )


class Files(LoadFileScheduling):  # type: ignore[misc] # for the same reason
    """Gives a worker whole files; those that need the machine's switch as if they were one."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "log_all_netns" if _needs_switch(TESTS.parent / file) else file


@functools.cache
def _needs_switch(file: Path) -> bool:
    text = file.read_text()
    return _tier(file) in TIERS and ("log_all_netns" in text or "oldstyle" in text)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Files | None:
    """With `--dist loadfile`, which is that of `make test`."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # by the number of their tests the longest files would come last
    return Files(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing privileged goes unrun."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail") and _tier(item.path) in TIERS:
        report.outcome = "failed"
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.longrepr = f"not run although CI=true: {reason}"
    return report


@contextmanager
def _limit(item: pytest.Item) -> Iterator[None]:
    """Fail whatever takes longer than it may; again every 30 s in case the failure itself hangs."""
    marker = item.get_closest_marker("timeout")
    seconds = float(marker.args[0]) if marker else LIMIT_SECONDS

    def too_long(_signal: int, _frame: FrameType | None) -> None:
        pytest.fail(f"not done within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds, 30)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Skip what this machine cannot run; limit the set-up."""
    needs = TIERS.get(_tier(item.path), ())
    for marker in item.iter_markers("needs"):
        needs += marker.args
    if lack := lacking(needs):
        pytest.skip(f"this machine lacks {', '.join(lack)}")
    with _limit(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Limit the test."""
    with _limit(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Limit the clean-up."""
    with _limit(item):
        return (yield)
