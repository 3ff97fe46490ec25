"""What the kernel says over netlink, and a little that it says in /proc instead. Standard library only.

headers     kernel names and numbers, as its headers have them
framing     attributes, one behind the other
dump        what is asked once and answered in many messages
conntrack   how full a queue and a connection table are, what was refused
ct_sysctls  the three sysctls that conntrack's events need
generation  nftables' generation and notifications
active      whether a rule makes conntrack run
hiding      whether a rule hides connections
invalid     whether the forward chain drops what conntrack calls invalid
xtables     targets of iptables-legacy, which netlink does not show
"""
