"""What on this host or in a namespace would silence or weaken the audit, each with its remedy. Changes nothing.

Checks are functions from what was seen to findings, pure; the machine is read at the edges, once.

- finding    what a check found, how bad it is, what to do
- ruleset    edge: rules, chains, tables and flowtables of a namespace, by netlink
- look       edge: everything of one namespace, entered once
- processes  edge: which processes there are, who has which socket, whether our daemon runs
- probe      edge: a program that tries the kernel's features in a throw-away namespace
- machine    edge: files of the host that more than one check reads
- kernel_features  what the probe found
- permissions, host_resources, disk, clock_sync, text_logs, daemon_health  checks of the host
- sysctls, table, listeners, foreign_rules, stale  checks of a namespace
- examine    all of it, in order
"""
