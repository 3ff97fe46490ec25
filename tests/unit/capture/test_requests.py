"""The queue of questions, with sockets whose far end plays the kernel."""

from __future__ import annotations

import errno
import struct

from anetcon.capture.requests import PATIENCE, Job, Requests
from anetcon.netlink import headers as k
from anetcon.netlink.dump import connections
from tests.support.capture_parts import NOW, at, message, namespace


def error(sequence: int, number: int) -> bytes:
    """The kernel's refusal."""
    return struct.pack("=IHHIIi", 20, k.NLMSG_ERROR, 0, sequence, 0, -number)


def test_one_question_at_a_time_urgent_ones_first() -> None:
    """The next question goes out when the one before is answered; a refusal is an answer too."""
    space, _, kernel = namespace()
    queue = Requests(lambda: at(NOW))
    order: list[tuple[str, bool]] = []

    def ask(name: str, urgent: bool = False) -> None:
        job = Job(space, connections(lambda _: None), lambda answered: order.append((name, answered)))
        queue.ask(job, urgent)

    ask("first")
    ask("later")
    ask("urgent", urgent=True)
    for number in (0, 1, 0):
        sequence = struct.unpack_from("=I", kernel.recv(100), 8)[0]
        kernel.send(error(sequence, number))
        queue.readable(space, at(NOW))
    assert order == [("first", True), ("urgent", False), ("later", True)]
    assert queue.waiting() == 0


def test_silence_is_given_up() -> None:
    """Without an answer in time the question failed, and a late answer harms nobody."""
    space, _, kernel = namespace()
    queue = Requests(lambda: at(NOW))
    answered: list[bool] = []
    taken: list[bytes] = []
    queue.ask(Job(space, connections(taken.extend), answered.append))
    queue.tick(at(NOW + PATIENCE))
    assert answered == []
    queue.tick(at(NOW + PATIENCE + 1))
    assert answered == [False]
    kernel.send(message(1))
    queue.readable(space, at(NOW))
    assert taken == []
    assert queue.waiting() == 0


def test_a_namespace_that_goes_takes_its_questions_along() -> None:
    """What was asked of it is forgotten; the others' questions go on."""
    space, _, _ = namespace()
    other, _, kernel = namespace("other", 1)
    queue = Requests(lambda: at(NOW))
    answered: list[str] = []
    queue.ask(Job(space, connections(lambda _: None), lambda _: answered.append("gone")))
    queue.ask(Job(other, connections(lambda _: None), lambda _: answered.append("other")))
    queue.forget(space)
    queue.tick(at(NOW))
    kernel.send(error(struct.unpack_from("=I", kernel.recv(100), 8)[0], 0))
    queue.readable(other, at(NOW))
    assert answered == ["other"]


def test_a_closed_socket_is_a_failed_question() -> None:
    """A question that cannot be sent fails at once."""
    space, _, kernel = namespace()
    kernel.close()
    answered: list[bool] = []
    Requests(lambda: at(NOW)).ask(Job(space, connections(lambda _: None), answered.append))
    assert answered == [False]


def test_a_socket_that_is_still_answering_is_asked_again() -> None:
    """What nobody waits for any more is read, and then the question is answered."""
    space, _, kernel = namespace()
    queue = Requests(lambda: at(NOW))
    answered: list[bool] = []
    taken: list[bytes] = []
    queue.ask(Job(space, connections(taken.extend), answered.append))
    queue.forget(space)
    queue.ask(Job(space, connections(taken.extend), answered.append))
    forgotten, *asked = (struct.unpack_from("=I", kernel.recv(100), 8)[0] for _ in range(2))
    for sequence, number in ((forgotten, 0), (asked[0], errno.EBUSY)):
        kernel.send(error(sequence, number))
    queue.readable(space, at(NOW))
    assert answered == []
    kernel.send(error(struct.unpack_from("=I", kernel.recv(100), 8)[0], 0))
    queue.readable(space, at(NOW))
    assert (answered, taken) == ([True], [])
