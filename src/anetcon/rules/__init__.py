"""Rules of ours in a namespace. Standard library only: the keeper's children run it.

wording   what the rules are, as text
iptables_save  what iptables-save printed -> what iptables-restore has to be told
tables    nftables tables of our own, as text; the one that makes conntrack run
invalid_sample  the rule that counts and samples what is invalid, and its socket
programs  running iptables and nft; whichever iptables a namespace uses
iptables  check, repair and remove, in the namespace we are in
nftables  the same with a table of our own
outcome   what was found and done, on its way to the keeper
work      one visit to a namespace: what is to go, what is to stand
"""
