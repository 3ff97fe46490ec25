"""Putting the program on a host, or into a tree, and taking it away again.

item        one thing that is installed: a file, a directory, a link
places      where things go: on a host, in the Debian package
plan        everything that is installed, as data, made of the configuration that will be used
unit        the text of the unit and of its drop-in
tree        the file system below a root: names, owners, atomic writes
installed   what we installed, by digest: how an edited file is known
apply       what differs from the plan, and bringing it there
undo        taking away what was installed
users       the system user that the daemon runs as
one_at_a_time  one installation at a time
program     where the program is, and whether it can stay there
debian      what the Debian package leaves to be done
service     systemd: started, replaced in place, stopped
restore     sysctls and rules of a daemon that is gone, put back
records     records and logs, for a purge
gateway     what is audited on this host from now on
"""
