"""Where rows of the journal go. A sink takes what anetcon.follow.reader has for it, and says how far it is.

kinds      the sinks that are configured, each with its reader
rows       which rows of a batch
appended   files that are appended to, and cut back
text       the two text logs
lines      their lines
json_file  a file of JSON lines
hash_file  the file that lists namespaces
"""
