"""The text of anetcon.service, of the drop-in that a LOG engine needs besides, and of anetcon-sign.service. Pure text.

The unit is for the engine conntrack, with the folders /var/lib/anetcon and /var/log/anetcon, as user `anetcon` and
group `adm`: the user has to be there (sysusers.d). Why each line is as it is: docs/explanation/unit.md; tests measure
what is left (`systemd-analyze security`) and run it. Refuses to know the configuration: other folders, another place of
the program are drop-ins of their own.
"""

from __future__ import annotations

from anetcon.errors import USAGE, ConfigError, PermissionMissingError, ProgramMissingError
from anetcon.link.engine_kinds import KINDS

USER, GROUP = "anetcon", "adm"
"""Not root: what capture and follow might be made to do they could do to the files of nobody else. The group reads the
records, and owns whatever the daemon creates, so that nothing has to be given away."""

SIGN_USER = "anetcon-sign"
"""Who signs what that user writes."""

STOPS_FOR_GOOD = (
    USAGE,
    *(error.exit_status for error in (ConfigError, PermissionMissingError, ProgramMissingError)),
)
"""Exit statuses that only an operator can mend: no use in starting again. A store that is not mounted yet, or still
owned by a daemon that was killed, mends itself."""

WATCHDOG_SECONDS = 120
"""Longer than all that the keeper does by itself about a capture that stands still: 20 s until it is killed, twice 30
for the next one to begin, 30 to end one that is being replaced. No longer: a table that fills meanwhile stays full."""

START_SECONDS = 180
"""Until the first listing of all namespaces is attached; nothing waits in their sockets before."""

STOP_SECONDS = 150
"""Longer than the keeper takes at most: capture, follow, the reader of kernel lines and our rules have 30 s each."""

_UNIT = """\
# The audit daemon of ANetCon. Another version replaces this file: changes belong in drop-ins, `systemctl edit anetcon`.
[Unit]
Description=ANetCon: audit of connections through network namespaces
Documentation=man:anetcon(1)
StartLimitIntervalSec=0
# What is sealed is signed by another user. To have it unsigned: `systemctl mask anetcon-sign`.
Wants=anetcon-sign.service

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} run
# The second command fails where the file, or the daemon, refuses the configuration: the one before then holds.
ExecReload=/bin/kill -HUP $MAINPID
ExecReload={program} config check
Restart=always
RestartSec=3
RestartPreventExitStatus={stops_for_good}
TimeoutStartSec={start_seconds}
TimeoutStopSec={stop_seconds}
WatchdogSec={watchdog_seconds}
# The keeper ends the others in order.
KillMode=mixed

User={user}
Group={group}
# Nobody else may read which tables of iptables-legacy a namespace has.
SupplementaryGroups=root
StateDirectory=anetcon
StateDirectoryMode=0750
LogsDirectory=anetcon
LogsDirectoryMode=0750
UMask=0027
# Whatever Python starts takes no module from the folder it is started in.
Environment=PYTHONSAFEPATH=1

# Entering namespaces; conntrack, its sysctls, receive buffers.
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_NET_ADMIN
AmbientCapabilities=CAP_SYS_ADMIN CAP_NET_ADMIN
LimitNOFILE=65536
LimitNICE=-10
OOMScoreAdjust=-500
# A child that the kernel kills for its memory is started again by the keeper, whose sockets wait meanwhile.
OOMPolicy=continue

NoNewPrivileges=yes
PrivateMounts=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
ProtectProc=invisible
ProtectHostname=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
# The sysctls of network namespaces are the job; everything else of the kernel stays read-only.
ProtectKernelTunables=yes
ReadWritePaths=/proc/sys/net
RestrictNamespaces=net
RestrictAddressFamilies=AF_NETLINK AF_UNIX AF_INET AF_INET6
IPAddressDeny=any
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# Capture comes before others, compaction behind them.
SystemCallFilter=setpriority sched_setscheduler

[Install]
WantedBy=multi-user.target
"""

_SIGN_UNIT = """\
# Signs what ANetCon seals. Another version replaces this file: changes belong in drop-ins.
[Unit]
Description=ANetCon: signatures of what is sealed
Documentation=man:anetcon-sign(8)
PartOf=anetcon.service
After=anetcon.service
StartLimitIntervalSec=0

[Service]
ExecStart={program} sign
Restart=always
RestartSec=10
RestartPreventExitStatus={stops_for_good}
Nice=10

# Alone can read the keys; reads the store as a member of the group, and writes nothing but its own folder.
User={user}
Group={group}
StateDirectory=anetcon-sign
StateDirectoryMode=0750
UMask=0027
Environment=PYTHONSAFEPATH=1

CapabilityBoundingSet=
NoNewPrivileges=yes
PrivateMounts=yes
PrivateNetwork=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
ProtectProc=invisible
ProtectHostname=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX
IPAddressDeny=any
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
"""

_LOG_ENGINE = """\
# What the engine {engine} needs besides. Written by `anetcon install`, for the engine that is configured.
[Service]
# The rules and the kernel's log.
CapabilityBoundingSet=CAP_NET_RAW CAP_SYSLOG
AmbientCapabilities=CAP_NET_RAW CAP_SYSLOG
ProtectKernelLogs=no
DeviceAllow=/dev/kmsg r
BindReadOnlyPaths=/dev/kmsg
# Whoever reads the kernel's log late loses lines.
RestrictRealtime=no
LimitRTPRIO=1
LimitNICE=-20
"""

_IPTABLES = """\
# iptables-legacy locks this file of root's: it has to be there, and its group has to be able to open it.
ExecStartPre=+/bin/sh -c 'umask 0177; : >>/run/xtables.lock; chmod g+r /run/xtables.lock'
"""


def unit_text(program: str) -> str:
    """The whole unit, for a program at this path."""
    return _UNIT.format(
        program=program,
        stops_for_good=" ".join(map(str, STOPS_FOR_GOOD)),
        start_seconds=START_SECONDS,
        stop_seconds=STOP_SECONDS,
        watchdog_seconds=WATCHDOG_SECONDS,
        user=USER,
        group=GROUP,
    )


def sign_unit_text(program: str) -> str:
    """The whole unit of who signs."""
    stops = " ".join(map(str, (USAGE, ConfigError.exit_status)))
    return _SIGN_UNIT.format(program=program, stops_for_good=stops, user=SIGN_USER, group=GROUP)


def engine_drop_in(engine: str) -> str | None:
    """The text of anetcon.service.d/50-engine.conf; None where the unit is enough as it is."""
    if not KINDS[engine].kernel_log:
        return None
    return _LOG_ENGINE.format(engine=engine) + (_IPTABLES if engine == "iptables-log" else "")
