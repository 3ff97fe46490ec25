"""What keeper and capture say to each other: a type a message, and the JSON object that it is in a packet.

The names in these objects stay: while the program is replaced, or when capture alone was started anew, one version
speaks with another. What the other says beside what is known here is passed over; what it says less, or otherwise, is
no message. Standard library only.
"""

from __future__ import annotations

import json
from types import UnionType
from typing import NamedTuple, get_args, get_origin, get_type_hints

from anetcon.gaps import Cause, Gap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Attach(NamedTuple):
    """To capture: listen in a namespace, with its sockets for events, requests and routes. Times in microseconds."""

    slot: int
    netns: str
    inode: int
    noticed: int
    attached: int
    newborn: bool
    resumed: bool
    """Whether a capture before this one was handed it."""


GONE = "gone"


class Detach(NamedTuple):
    """To capture: let go of a namespace, `GONE` or, by the cause, deselected."""

    slot: int
    why: str


class Kmsg(NamedTuple):
    """To capture: this socket has the kernel's lines."""


class Name(NamedTuple):
    """To capture: kernel lines may carry the hash of that name."""

    netns: str
    inode: int


class RulesetChanged(NamedTuple):
    """To capture: the ruleset is another one than it was at `since`; `legacy`: see `netlink.xtables.Target`."""

    slot: int
    since: int
    legacy: list[tuple[str, str, int, int]]


class Invalid(NamedTuple):
    """To capture: so many packets were invalid between two looks, and so many of them left."""

    slot: int
    start: int
    end: int
    number: int
    left: int = 0


class Sample(NamedTuple):
    """To capture: this socket has a sample of them."""

    slot: int


class Hello(NamedTuple):
    """To the keeper: capture works."""


class Detached(NamedTuple):
    """To the keeper: capture has let go of a namespace."""

    slot: int


class Tracks(NamedTuple):
    """To the keeper: connection tracking runs without us of these families (`ip`, `ip6`)."""

    slot: int
    families: list[str]


class Remark(NamedTuple):
    """To the keeper: say this of a namespace in its status, or, without `what`, no longer."""

    slot: int
    cause: Cause
    what: str | None


ToCapture = Attach | Detach | Kmsg | Name | RulesetChanged | Invalid | Sample | Gap
ToKeeper = Hello | Detached | Tracks | Remark
Message = ToCapture | ToKeeper

_OPERATIONS: dict[str, type[Message]] = {
    "attach": Attach,
    "detach": Detach,
    "kmsg": Kmsg,
    "name": Name,
    "ruleset": RulesetChanged,
    "untracked": Invalid,
    "sample": Sample,
    "gap": Gap,
    "hello": Hello,
    "detached": Detached,
    "tracks": Tracks,
    "found": Remark,
}
_NAMES = {kind: name for name, kind in _OPERATIONS.items()}
_KEYS = {"start": "from", "end": "to", "number": "count"}
_HINTS = {kind: get_type_hints(kind) for kind in _NAMES}
del _HINTS[Gap]["node"]  # it is the daemon's own
LONGEST = 80
"""Characters of what another said that are told again."""


def said(message: Message) -> dict[str, Any]:
    """The object."""
    fields = {_KEYS.get(name, name): getattr(message, name) for name in _HINTS[type(message)]}
    return {"op": _NAMES[type(message)], **fields}


def encode(message: Message) -> bytes:
    """The packet."""
    return json.dumps(said(message), separators=(",", ":")).encode()


def decode(packet: bytes) -> Message:
    """The message in a packet. ValueError when it is none that this version knows."""
    try:
        found = json.loads(packet)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {str(error)[:LONGEST]}") from None
    name = found.get("op") if isinstance(found, dict) else None
    kind = _OPERATIONS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"{name[:LONGEST]!r} is unknown" if isinstance(name, str) else "it names no operation")
    values: dict[str, Any] = {}
    for field, hint in _HINTS[kind].items():
        key = _KEYS.get(field, field)
        if key in found and type(found[key]) in _plain(hint):
            values[field] = Cause(found[key]) if hint is Cause else found[key]
        elif key in found or field not in kind._field_defaults:
            raise ValueError(f"{name!r} without a {key!r} as it has to be")
    return kind(**values)


def _plain(hint: Any) -> set[type]:
    """The types that JSON may have for it."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return {str if kind is Cause else get_origin(kind) or kind for kind in kinds}
