"""Errors a user can cause, each with its exit status.

One base class: whatever is raised below it is printed as one sentence, without a traceback, and ends the program with
`exit_status`. Anything else that escapes is a defect and shows its traceback. Statuses 0, 1 and 3 are answers, not
errors (design: found, nothing found, nothing found but the record has gaps); 2 is wrong usage.
"""

from __future__ import annotations


class AnetconError(Exception):
    """Something went wrong that has no class of its own."""

    exit_status = 4


class ConfigError(AnetconError):
    """The configuration cannot be used: the message names the file and the line or key."""

    exit_status = 5


class PermissionMissingError(AnetconError):
    """A privilege or a file permission is missing: the message says which."""

    exit_status = 6


class ProgramMissingError(AnetconError):
    """A program or kernel feature that is needed is not there: the message says what to install."""

    exit_status = 7


class StoreError(AnetconError):
    """The store or journal cannot be read or written: the message names the file."""

    exit_status = 8


class AlreadyRunningError(AnetconError):
    """Another daemon owns this store: the message names its process."""

    exit_status = 9


class TakeoverError(AnetconError):
    """The bash ANetCon could not be replaced: the message says why, and whether it runs again."""

    exit_status = 10


class InputError(AnetconError):
    """A file could not be read, or not to its end, or no line of it: the message names it. The others were read."""

    exit_status = 12


class KeyringError(AnetconError):
    """The keys of the node are not there, or cannot be used: the message says what to do."""

    exit_status = 13


USAGE = 2
DEFECT = 70
"""A defect of the program (sysexits.h, EX_SOFTWARE), with its traceback: please report it."""
NOT_FOUND = 1
NOT_FOUND_WITH_GAPS = 3

ANSWERS = {
    0: "done; for a question: found",
    NOT_FOUND: "nothing found, and the record is complete for what was asked. Of `status`: something is wrong, and "
    "it says what. Of `doctor`: there is a problem. Of `verify`: the store is not as it was sealed. Of `import`: no "
    "line of any file is of ANetCon",
    USAGE: "wrong usage: an unknown command or option, or a value that cannot be read",
    NOT_FOUND_WITH_GAPS: "nothing found, but the record has gaps there. Of `doctor`: no problem found, but doctor "
    "could not look at everything. Of `verify`: nothing is wrong, but not everything is proven",
}


def every_error() -> list[type[AnetconError]]:
    """Every error class, by exit status: the source of the reference page."""
    classes: list[type[AnetconError]] = [AnetconError, *AnetconError.__subclasses__()]
    return sorted(classes, key=lambda c: c.exit_status)


def statuses() -> list[tuple[int, str]]:
    """Every exit status and what it means: answers first, then errors."""
    errors = [(error.exit_status, (error.__doc__ or "").strip()) for error in every_error()]
    return [
        *sorted(ANSWERS.items()),
        *errors,
        (DEFECT, "a defect of the program, with its traceback: please report it"),
    ]
