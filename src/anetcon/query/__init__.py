"""Questions to the record and what is found. Knows no terminal: the command line is one of those who ask.

filters     the filters of every question, and the SQL they stand for
times       a time as a person writes it
who         which connections may be the one that is asked for, in order of likelihood
one_sided   those that are lines of text, whose public side is unknown
passages    one connection that several namespaces saw
indicators  lists of addresses, as people keep them
macs        which MAC addresses stood behind an inside
as_text     columns as text, rows as JSON
"""
