"""Benchmarks: `python -m bench` runs them all, `python -m bench flood --connections 500000` one.

- loads     what is made, exactly counted: the flood and the mixed load of anetcon.testbed
- programs  who listens: the floor, anetcon, conntrack -E, ulogd2, the seed's LOG rules with rsyslog
- floor     a bare recvmmsg loop: its CPU time an event is what every other is compared with
- measure   CPU time of a program with all its processes, memory
- judge     what was recorded, against what was made
- compare   each program under one load
- together  flood, sealing and a loop of questions at once
- covered   from a new namespace to its being listened to
- repaired  from a new namespace, or from wiped LOG rules, to their standing; what watching them costs
- attaching  the keeper's own time to attach namespaces
- idle      memory and CPU with 1 and with 500 namespaces
- query     times of questions to a large store
- report    the table, the JSON, the promises

Needs root and a quiet machine. The peers' own programs run with private configuration files in a temporary folder.
"""
