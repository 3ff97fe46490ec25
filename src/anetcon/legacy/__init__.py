"""The bash ANetCon on this host: finding it, ending it, and taking its place without a blind moment.

find        finding it
autostart   what starts it besides the units that `find` knows
check       what the doctor says of it
takeover    from it to the daemon; the other modules are its parts
wait_ready  whether the started daemon audits
way_back    from the daemon to it
sorting     the files by which rsyslog sorts its lines
backup      keeping its files
stop_old    ending it
old_chain   its rules
old_rsyslog  its rsyslog
lost_lines  what the restart of rsyslog loses
foreign_lines  what in its files is a site's own
"""
