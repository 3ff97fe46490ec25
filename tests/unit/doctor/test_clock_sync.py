"""The clock."""

from __future__ import annotations

from pathlib import Path

from anetcon.doctor.clock_sync import STA_UNSYNC, clock, read
from tests.support.doctor_parts import ill, machine, one, root_with


def test_synchronised_or_not() -> None:
    """The kernel says whether, and how wrong it may be."""
    assert ill(clock(machine(), (0x2001, 500))) == []
    assert "chrony" in one(clock(machine(), (STA_UNSYNC, 500))).remedy
    assert "2.0 s" in one(clock(machine(), (0, 2_000_000))).found
    assert not one(clock(machine(), None)).checked


def test_a_slow_source(tmp_path: Path) -> None:
    """A clock that is slow to read is a note."""
    where = "sys/devices/system/clocksource/clocksource0/current_clocksource"
    slow = machine(root_with(tmp_path, {where: "acpi_pm\n"}))
    assert "acpi_pm" in one(clock(slow, (0, 0))).found
    assert ill(clock(machine(root_with(tmp_path, {where: "tsc\n"})), (0, 0))) == []


def test_asking_the_kernel() -> None:
    """Reading needs no privilege; the error it estimates is not negative."""
    said = read()
    assert said is None or said[1] >= 0
