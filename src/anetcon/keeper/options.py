"""The keeper's command line: see `main`."""

from __future__ import annotations


class Options:
    """The command line: see the module's docstring."""

    def __init__(self, arguments: list[str]) -> None:
        own, _, self.rest = _partition(arguments)
        given = dict(zip(own[::2], own[1::2], strict=True))
        self.settings = int(given["--settings"])
        self.state = int(given["--state"]) if "--state" in given else None
        self.capture = given.get("--capture", "anetcon.capture.main")
        self.follow = given.get("--follow", "anetcon.follow.main")
        self.kmsg = given.get("--kmsg", "anetcon.kmsg.main")
        self.resolver = given.get("--resolver", "anetcon.cli.main")

    def again(self) -> list[str]:
        """The arguments that stay the same for the program after this one."""
        modules = ["--capture", self.capture, "--follow", self.follow, "--kmsg", self.kmsg]
        return [*modules, "--resolver", self.resolver, "--", *self.rest]


def _partition(arguments: list[str]) -> tuple[list[str], str, list[str]]:
    if "--" not in arguments:
        return arguments, "", []
    at = arguments.index("--")
    return arguments[:at], "--", arguments[at + 1 :]
