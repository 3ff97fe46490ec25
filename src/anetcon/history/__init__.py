"""Old text into the store: what `anetcon import` does.

source      a file, whatever it is compressed with, as blocks of whole lines, up to its damage
stamps      the times of syslog's stamps, given the year
years       the year of files whose stamps have none; turns: where, between their lines, it becomes the next
syslog      lines of LOG rules that a syslog daemon wrote, and those of our own text logs -> columns
events      text of `conntrack -E` -> columns, NEW and DESTROY in one
names       the namespace behind a hash, the node behind a host
line_batch  the columns, and the table the store takes
known       which of them the store has already
importing   all of it: the files in the order of their time, what was found of each
"""
