"""The bash ANetCon on this host: finding it, ending it, and taking its place without a blind moment.

old         finding it
starters    what starts it besides the units that `old` knows
takeover    from it to the daemon; the other modules are its parts
aside       keeping its files
ending      ending it
chain       its rules
sorting     its rsyslog
witness     what the restart of rsyslog loses
mixed       what in its files is a site's own
"""
