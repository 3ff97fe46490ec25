"""Faults, for real: the installed daemon under traffic, something broken on purpose, judged by a count made outside it.

- ledger    what was made, when, and what of it is on record or inside a gap
- conftest  a router to flood, and a daemon with one of its protections removed

Each fault has a control: the same judgement of a daemon without the protection the fault tests must fail.
"""
