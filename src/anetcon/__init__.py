"""ANetCon: audits the network connections of Linux routers.

Data flows one way; imports follow it (a test enforces this).

    errors, gaps, protocols, record   what everything shares: exit statuses, names, causes of gaps, the field table
    bash        the one door to the rooms for the bash ANetCon: config.old, legacy, history
    system/     what Linux gives a process; imports nothing of ours
    netlink/    what the kernel says over netlink; standard library only
    rules/      rules of ours in a namespace: text, check, repair; and running iptables and nft
    link/       what the keeper and its children share: settings, messages, channel, counters
    config/     the configuration: model, loading, files for rsyslog and logrotate made of it
    decode/     bytes of ctnetlink -> columns: fast, by shape; and the slow oracle
    classify    columns -> class (nat, float, local) and which are recorded
    formats     what older formats of journal and store lack
    journal/    what capture writes and followers read
    identity/   which start belongs to which end
    store/      Parquet, manifest, the one view of store and journal, coverage
    query/      questions to the record, without a terminal
    proof/      what is signed of a store, and what that proves
    kmsg/       child process under a LOG engine: /dev/kmsg -> capture
    keeper/     parent process: namespaces, sockets, guard; standard library only
    capture/    child process: sockets -> decode -> classify -> journal
    follow/     child process: sealer, text logs
    history/    old text logs into the store: anetcon import
    doctor/     what on this host would silence or weaken the audit
    install/    what is installed on a host, as data; applied, undone
    legacy/     taking the place of the bash ANetCon
    testbed/    routers of our own in network namespaces, for demo, tests and benchmarks
    cli/        one file a command
"""

__version__ = "0.1.0"
