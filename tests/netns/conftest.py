"""What tests with namespaces build on: a testbed, removed afterwards whatever happened, and routers in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from anetcon.testbed.bed import Testbed, sweep
from anetcon.testbed.topology import Router, World
from anetcon.testbed.traffic import Server


@pytest.fixture(scope="session", autouse=True)
def _swept() -> None:
    """Remove what earlier runs left behind that were killed."""
    sweep()


@pytest.fixture
def bed() -> Iterator[Testbed]:
    """A testbed of the test's own."""
    with Testbed() as made:
        yield made


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A world that the tests of a module share."""
    with Testbed() as made:
        yield World(made)


@pytest.fixture(scope="module")
def router(world: World) -> Router:
    """A router with two instances, the second with a floating IP; shared by the tests of a module."""
    return Router(world, instances=2, floating=[1])


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    """A server in the world, TCP and UDP."""
    from anetcon.testbed.topology import SERVER

    with Server(world.namespace, SERVER, 8080) as made:
        yield made
