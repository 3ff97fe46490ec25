"""Whether the machine's clock is right: a report's time is compared with the record's."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from anetcon.doctor.finding import Finding, Severity, unchecked
from anetcon.doctor.machine import Machine

# linux/timex.h
STA_UNSYNC = 0x0040
MOST_ERROR = 1_000_000
"""Microseconds of estimated error above which an answer's window of 60 s is no longer generous."""
SLOW_SOURCES = {"acpi_pm", "hpet", "jiffies", "pit"}
SOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"


class Timex(ctypes.Structure):
    """struct timex (linux/timex.h), of a 64-bit kernel."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("constant", "precision", "tolerance", "sec", "usec", "tick")),
        *((name, ctypes.c_long) for name in ("ppsfreq", "jitter")),
        ("shift", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("stabil", "jitcnt", "calcnt", "errcnt", "stbcnt")),
        ("tai", ctypes.c_int),
        ("_padding", ctypes.c_int * 11),
    )


def read() -> tuple[int, int] | None:
    """(status bits, estimated error in microseconds) of the kernel's clock, only read; None when it does not tell."""
    asked = Timex(modes=0)
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked)) < 0:
        return None
    return asked.status, asked.esterror


def clock(machine: Machine, said: tuple[int, int] | None) -> Iterator[Finding]:
    """Synchronised, and kept by a source that costs little to read."""
    remedy = "synchronise it: `timedatectl set-ntp true`, or `apt-get install chrony`"
    means = "times in the record drift from the time in a report: `who` may find the wrong connection, or none"
    if said is None:
        yield unchecked("clock", "the kernel does not tell whether its clock is synchronised", "see `timedatectl`")
    elif said[0] & STA_UNSYNC:
        yield Finding("clock", Severity.WARNING, "the clock is not synchronised", means, remedy)
    elif said[1] > MOST_ERROR:
        found = f"the clock may be wrong by {said[1] / 1e6:.1f} s"
        yield Finding("clock", Severity.WARNING, found, means, remedy)
    else:
        yield Finding("clock", Severity.OK, f"the clock is synchronised, estimated error {said[1]} us")
    source = machine.text(SOURCE).strip()
    if source in SLOW_SOURCES:
        means = "reading the clock takes microseconds, and the kernel reads it for every connection"
        remedy = "see what else there is: `cat /sys/devices/system/clocksource/clocksource0/available_clocksource`"
        yield Finding("clock", Severity.NOTE, f"the clock source is {source}", means, remedy)
