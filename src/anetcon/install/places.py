"""Where things go: by `anetcon install` below /etc and /usr/local, in the Debian package below /usr.

What an operator edits, and where records are, is the same in both.
"""

from __future__ import annotations

from dataclasses import dataclass

from anetcon.config.model import RSYSLOG_FILE

TOML = "/etc/anetcon/anetcon.toml"
OLD_CONFIGURATION = "/etc/anetcon.conf"
LOGROTATE = "/etc/logrotate.d/anetcon"
RSYSLOG = RSYSLOG_FILE
UNIT = "anetcon.service"
SIGN_UNIT = "anetcon-sign.service"


@dataclass(frozen=True)
class Layout:
    """Folders, absolute."""

    program: str
    """What the unit starts, and what is typed."""
    system: str
    """Where the system's own configuration lies: below it units, users."""
    share: str
    zsh: str
    compress: bool
    """Whether man pages are compressed."""

    @property
    def units(self) -> str:
        """Where units lie."""
        return f"{self.system}/systemd/system"

    @property
    def sysusers(self) -> str:
        """The file that says whom the daemon runs as."""
        return f"{self.system}/sysusers.d/anetcon.conf"

    @property
    def editable(self) -> bool:
        """Whether an operator may edit what lies there."""
        return self.system == "/etc"

    @property
    def unit(self) -> str:
        """The unit."""
        return f"{self.units}/{UNIT}"

    @property
    def sign_unit(self) -> str:
        """The unit of who signs."""
        return f"{self.units}/{SIGN_UNIT}"

    def drop_in(self, name: str, unit: str = UNIT) -> str:
        """A drop-in of a unit."""
        return f"{self.units}/{unit}.d/{name}.conf"

    def man(self, name: str, section: int) -> str:
        """A man page."""
        return f"{self.share}/man/man{section}/{name}.{section}" + (".gz" if self.compress else "")

    def completion(self, shell: str) -> str:
        """What a shell reads to complete our commands."""
        return {
            "bash": f"{self.share}/bash-completion/completions/anetcon",
            "zsh": f"{self.zsh}/_anetcon",
            "fish": f"{self.share}/fish/vendor_completions.d/anetcon.fish",
        }[shell]


HOST = Layout(
    program="/usr/local/bin/anetcon",
    system="/etc",
    share="/usr/local/share",
    zsh="/usr/local/share/zsh/site-functions",
    compress=False,
)
DEBIAN = Layout(
    program="/usr/bin/anetcon",
    system="/usr/lib",
    share="/usr/share",
    zsh="/usr/share/zsh/vendor-completions",
    compress=True,
)
