"""The LOG rules of the engines iptables-log and nftables-log. Standard library only: the keeper's children run it.

text      what the rules are, as text
saved     what iptables-save printed -> what iptables-restore has to be told
programs  running iptables and nft; whichever iptables a namespace uses
netlink   nftables' generation and notifications
iptables  check, repair and remove, in the namespace we are in
nftables  the same with a table of our own
outcome   what was found and done, on its way to the keeper
work      one visit to a namespace: what is to go, what is to stand
"""
