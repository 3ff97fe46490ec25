"""The keeper: the parent process, tiny and privileged, standard library only.

main        the process: start, signals, reload, replacement in place, end
capabilities  what an engine needs, and whether we have it
settings    what it uses of the configuration
loop        descriptors, timers, signals; one thread
namespaces  which are there: inotify and listings
roster      what each one's state is; attach, retry, let go
announce    what is audited, in the log: at the start, what comes and goes, that nothing is
attach      enter a namespace, set its sysctls, open its sockets
lines       under a LOG engine: the kernel's log and the child that reads it
guard       hold mode must never fill a connection table
watchdog    a capture that stands still is continued, or replaced
watch       once a second: is everything still switched on, did a table refuse connections
inside      sysctls of a namespace, from outside it
stats       how full a queue and a connection table are
activate    our nftables tables; the one that makes conntrack run where no rule uses it
sampling    packets that are invalid: counted where they leave, a sample logged for capture
channel     messages and descriptors to and from capture (capture uses it too)
processes   capture and follow; the channel's end
children    start, restart, stop, collect
upgrade     what survives a replacement in place
status      status.json
notify      what the service manager is told
shared      the counters shared with capture, as columns
files       lock, status.json, sysctls.jsonl: without waiting for the disk
rules       that the LOG rules stand: when to look, when to repair, gaps; removal
errands     work in namespaces that has to wait, by forked children
left        rules.jsonl: where rules of ours may be
nflog       the one switch that other namespaces need to log
clock       wall-clock microseconds, and as text
syscalls    setns, prctl, inotify, kernel constants
"""
