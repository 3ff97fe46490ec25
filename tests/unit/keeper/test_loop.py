"""The keeper's loop calls what it was asked to call."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from anetcon.keeper.loop import Loop
from anetcon.system.clock import now_us


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop; signals are as before afterwards."""
    before = signal.getsignal(signal.SIGUSR1)
    yield Loop()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGUSR1, before)


def test_timers_run_in_order_and_cancelled_ones_never(loop: Loop) -> None:
    """Each is called once, when it is due."""
    called: list[str] = []
    loop.after(0.02, loop.stop)
    loop.after(0.01, lambda: called.append("second"))
    loop.after(0.0, lambda: called.append("first"))
    loop.after(0.005, lambda: called.append("never")).cancel()
    loop.run()
    assert called == ["first", "second"]


def test_what_is_heard_happened_since_the_turn_before(loop: Loop) -> None:
    """However long a turn took: what it did not see came after it began."""
    begun: list[int] = []

    def first() -> None:
        begun.append(now_us())
        threading.Event().wait(0.01)
        loop.after(0, second)

    def second() -> None:
        begun.append(loop.before)
        loop.stop()

    loop.after(0.005, first)
    before = now_us()
    loop.run()
    assert before <= begun[1] <= begun[0]


def test_every_calls_until_the_end(loop: Loop) -> None:
    """A repeated timer goes on."""
    called: list[int] = []

    def tick() -> None:
        called.append(len(called))
        if len(called) == 3:
            loop.stop()

    loop.every(0.001, tick)
    loop.run()
    assert called == [0, 1, 2]


def test_a_readable_descriptor_is_told_until_forgotten(loop: Loop) -> None:
    """A callback may forget the descriptor of another that is ready in the same turn."""
    pipes = [os.pipe() for _ in range(2)]
    called: list[int] = []

    def read(number: int) -> None:
        called.append(number)
        for reading, _ in pipes:
            loop.unwatch(reading)
        loop.stop()

    for number, (reading, writing) in enumerate(pipes):
        loop.watch(reading, partial(read, number))
        os.write(writing, b"x")
    loop.run()
    assert len(called) == 1
    for pair in pipes:
        for descriptor in pair:
            os.close(descriptor)


def test_signals_arrive_in_the_loop(loop: Loop) -> None:
    """However often one came meanwhile, it is told once."""
    called: list[str] = []
    loop.on_signal(signal.SIGUSR1, lambda: called.append("usr1"))
    loop.after(0.01, loop.stop)
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGUSR1)
    loop.run()
    assert called == ["usr1"]
