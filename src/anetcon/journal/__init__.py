"""The journal: the only thing capture writes, and what every follower reads.

One folder a table (`journal/connections`, `journal/gaps`, ...), in it numbered segments. A segment is a plain Arrow
IPC stream, `0000000001.arrows`, and beside it an index, `0000000001.index`, with one text line a flush:

    <offset> <length> <rows> <from> <to> <crc32c>

`offset` and `length` delimit the flush's bytes in the stream; each flush is whole by itself (its dictionaries, then
one record batch), so any flush can be read knowing only the segment's schema. `from` and `to` are the microseconds of
wall clock the flush covers. The CRC-32C is of the bytes, then of the line's text before it. A line with length 0 is a
heartbeat: nothing happened until `to`, and the writer was alive. The first line of an index is the schema's: offset 0,
no rows, no times.

What the checksum promises: a reader stops at the first line that does not hold and hands out nothing behind it, so a
torn, zeroed or flipped tail is never an error and costs only what follows the last good line. The file is never
repaired: a new writer starts a new segment. A segment is closed when its successor exists or its index ends with the
line `closed`. Exactly one process writes; the daemon's lock on the store sees to it.
"""
