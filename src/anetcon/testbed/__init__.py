"""Routers of our own in network namespaces, with real traffic through them: for the demo, the tests and the benchmarks.

- bed         one namespace: enter it, run in it, remove it; a testbed that removes everything it built
- topology    a world outside and routers that translate as Neutron's do
- neutron_rules  those routers' rules, in Neutron's own words
- traffic     real connections, each returned as both sides saw it
- daemon      a daemon of ours on a store of its own, for some of these namespaces

Uses only 10.0.0.0/8, 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24 and 2001:db8::/32. Never touches the namespace it
was started in: every interface, rule and sysctl belongs to a namespace made here.
"""
