"""What the keeper and its children share. Standard library only.

engine_kinds  the engines, and what differs between them
settings      the settings as they come from the command line, resolved and checked
messages      what keeper and capture say to each other
channel       how these travel, with descriptors
counters      the shared counters
capabilities  what an engine needs, and whether we have it
descriptors   for how many namespaces the limit of open files has room
ledger        ledger.jsonl: what of ours is on this host
log_switch    nf_log_all_netns, the one switch of the machine
"""
