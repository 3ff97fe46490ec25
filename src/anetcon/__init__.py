"""ANetCon: audits the network connections of Linux routers.

Data flows one way; imports follow it (a test enforces this).

    errors, record, counters   what everything shares: exit statuses, the field table, the shared counters
    gaps                       the one table of causes for which something may be missing
    memory                     how the processes that move much data keep their memory
    config/                    the configuration: model, loading, files for rsyslog and logrotate made of it
    rules/                     the LOG rules of the engines iptables-log and nftables-log: text, check, repair
    keeper/                    parent process: namespaces, sockets, guard; standard library only
    kmsg/                      child process under a LOG engine: /dev/kmsg -> capture
    decode/                    bytes of ctnetlink -> columns: fast, by shape; and the slow oracle
    classify.py                columns -> class (nat, float, local) and which are recorded
    capture/                   child process: sockets -> decode -> classify -> journal
    journal/                   what capture writes and followers read
    identity.py                which start belongs to which end
    store/                     Parquet, manifest, the one view of store and journal, coverage
    follow/                    child process: sealer, text logs
    history/                   old text logs into the store: anetcon import
    doctor/                    what on this host would silence or weaken the audit
    install/                   what is installed on a host, as data; applied, undone
    cli/                       one file a command
"""

__version__ = "0.1.0"
