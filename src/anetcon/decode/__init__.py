"""From the bytes of ctnetlink messages to columns. Pure: no socket, clock, file or log line in here.

`oracle` reads one message, slowly and plainly; `ctnetlink` reads thousands at once by the shapes the oracle taught it.
A property test holds the two against each other.
"""
