"""Followers of the journal, in one unprivileged process: the sealer, the text logs and the sinks. Slow or failing ones
cost capture nothing and lose nothing: each goes on where it was.

main        the process: signals, turns, what happens when one of them fails
settings    what is configured
log         lines to the daemon's log
sealing     the sealer's turns (anetcon.store.seal)
compaction  a child now and then that makes one file of many (anetcon.store.compact)
reader      the turns of a sink: where it was, each row once, what a row is to its connection
position    how far a sink is, on disk
sinks/      where rows go; `kinds` makes what is configured
after_others  a sink that begins where somebody else ends
rsyslog_handover  when that is: of the text logs, where rsyslog wrote them until then
"""
