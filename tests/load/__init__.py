"""Loads for tests and benchmarks, through the routers of `anetcon.testbed`.

- packets     whole Ethernet frames in numpy, checksums included
- wire        many frames a system call, out and in
- flood       one router, TCP connections as fast as the machine makes them
- mixed       many routers, every kind of connection, each walked through its whole life
- lives       those lives, and what a record of each must say
- echo        who answers in them
- kernel      what conntrack itself counts, how to make it end what has expired, and the machine's one switch
"""
