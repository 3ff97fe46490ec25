"""The keeper: the parent process, tiny and privileged, standard library only.

main        the process: start, signals, reload, replacement in place, end
loop        descriptors, timers, signals; one thread
host        loop, children, home, ledger and counters, which every part works with
options     the command line
reload      settings read again
audit       what is done in namespaces, and when
namespace   one of them: its state, and everything kept of it
namespaces  which are there: inotify and listings
roster      all of them: attach, retry, let go
announce    what is audited, in the log: at the start, what comes and goes, that nothing is
attach      enter a namespace, set its sysctls, open its sockets
hold        hold mode must never fill a connection table
watchdog    a capture that stands still is continued, or replaced
watch       once a second: is everything still switched on, did a table refuse connections
watched     what is watched in one namespace
inside      sysctls of a namespace, from outside it
activate    our nftables tables; the one that makes conntrack run where no rule uses it
invalid_packets  packets of a namespace that are invalid: how many, and how many left
sampling    packets that are invalid: counted where they leave, a sample logged for capture
capture_link  capture and follow; the channel's end
children    start, restart, stop, collect
upgrade     replacement in place
handover    what survives it
status      status.json
shown       what it says of one namespace
notify      what the service manager is told
shared      the counters shared with capture, as columns
store_files  lock, status.json: without waiting for the disk
jobs        work in namespaces that has to wait, by forked children
log_engine/  the LOG rules kept standing, the kernel's log read
daemon_log  the daemon's own log, this end
logfile     the daemon's own log: the program that writes it
"""
