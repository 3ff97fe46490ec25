"""The slow, obvious reader of a LOG line, a word at a time: what the fast one must agree with."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any

PROTOCOLS = {"TCP": 6, "UDP": 17, "UDPLITE": 136, "ICMP": 1, "ICMPv6": 58, "ESP": 50, "AH": 51}

Row = dict[str, Any]


class BadError(Exception):
    """A line with our prefix that is not as it should be."""


def record(data: bytes, common: str = "[ANETCON]", dnat: str = "[D]", other: str = "[X]") -> Row | None:
    """The row of one record of /dev/kmsg; None when it is none of our lines. Raises BadError."""
    head, _, text = data.decode("latin-1").partition(";")
    numbers = head.split(",")
    if len(numbers) < 4 or not all(re.fullmatch("[0-9]+", number) for number in numbers[:3]):
        return None
    if numbers[0] not in list("01234567") or not text.startswith((common + dnat, common + other)):
        return None
    way = dnat if text.startswith(common + dnat) else other
    rest = text.removeprefix(common + way)
    hashed = re.match(r"\[([0-9a-f]{8})\] ", rest)
    if not hashed and not rest.startswith(" "):
        return None
    words = rest[hashed.end() if hashed else 1 :].split(" ")
    row = _packet(words)
    row |= {"time": int(numbers[2]), "hash": hashed[1] if hashed else "", "class": "float" if way == dnat else "nat"}
    if way == dnat:
        row |= {"dst_ip": None, "dst_port": None}
    return row


def _packet(words: list[str]) -> Row:
    if words.pop() != "\n":
        raise BadError("the last value has no blank behind it")
    for name in ("IN", "OUT"):
        _value(words, name, ".*")
    while words and not words[0].startswith("SRC="):
        _check(bool(re.match("[A-Z]+=", words.pop(0))), "no name of a value")
    source, destination = (_address(_value(words, name, "[0-9a-f.:]+")) for name in ("SRC", "DST"))
    _check(source.version == destination.version, "two families")
    _value(words, "LEN", "[0-9]+")
    if words and words[0].startswith("TOS="):
        for name, form in (("TOS", "0x[0-9A-F]{2}"), ("PREC", "0x[0-9A-F]{2}"), ("TTL", "[0-9]+"), ("ID", "[0-9]+")):
            _value(words, name, form)
    else:
        for name in ("TC", "HOPLIMIT", "FLOWLBL"):
            _value(words, name, "[0-9]+")
    while words and not words[0].startswith("PROTO="):
        _check(words.pop(0) != "", "an empty word")
    shown = _value(words, "PROTO", "[A-Za-z0-9]+")
    _check(shown in PROTOCOLS or shown.isdigit(), "no protocol")
    proto = PROTOCOLS[shown] if shown in PROTOCOLS else _number(shown, 255)
    src_port, dst_port = _ports(words, proto)
    mark = 0
    while words:
        if words[0].startswith("MARK="):
            mark = int(_value(words, "MARK", "0x[0-9a-f]{1,8}"), 16)
            _check(not words, "something behind the mark")
        else:
            _check(words.pop(0) != "", "an empty word")
    ends = {"src_ip": str(source), "dst_ip": str(destination), "nat_dst_ip": str(destination)}
    return {"proto": proto, "mark": mark, **ends, "src_port": src_port, "dst_port": dst_port, "nat_dst_port": dst_port}


def _ports(words: list[str], proto: int) -> tuple[int, int]:
    if proto in (6, 17, 136):
        return _number(_value(words, "SPT", "[0-9]+"), 65535), _number(_value(words, "DPT", "[0-9]+"), 65535)
    _check(not (len(words) > 1 and _is(words[0], "SPT") and _is(words[1], "DPT")), "ports of a protocol without")
    if proto in (1, 58):
        kind, code = (_number(_value(words, name, "[0-9]+"), 255) for name in ("TYPE", "CODE"))
        there = bool(words) and words[0].startswith("ID=")
        _check(there or kind not in ((0, 8) if proto == 1 else (128, 129)), "an echo without ID")
        return (_number(_value(words, "ID", "[0-9]+"), 65535) if there else 0), kind << 8 | code
    typed = len(words) > 1 and _is(words[0], "TYPE") and _is(words[1], "CODE")
    _check(not typed or (len(words) > 2 and words[2].startswith("ID=") and not _is(words[2], "ID")), "a type")
    return 0, 0


def _is(word: str, name: str) -> bool:
    return bool(re.fullmatch(f"{name}=[0-9]+", word))


def _value(words: list[str], name: str, form: str) -> str:
    _check(bool(words), f"no {name}")
    word = words.pop(0)
    _check(word.startswith(name + "="), f"no {name}")
    value = word.removeprefix(name + "=")
    _check(bool(re.fullmatch(form, value, re.DOTALL)), f"{name} is {value!r}")
    return value


def _number(text: str, most: int) -> int:
    _check(int(text) <= most, f"{text} is over {most}")
    return int(text)


def _address(text: str) -> Any:
    try:
        return ip_address(text)
    except ValueError:
        raise BadError(f"{text!r} is no address") from None


def _check(holds: bool, why: str) -> None:
    if not holds:
        raise BadError(why)
