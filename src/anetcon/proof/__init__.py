"""What is signed of a store, and what that proves.

merkle       RFC 6962's tree: roots, and what shows that a line is under one, or that one tree goes on from another
note         signed notes and checkpoints, as C2SP has them
certificate  what a root key says of a node's key and of the keys of its epochs
keyring      these keys as files; the next epoch
leaves       the manifest's committed lines, and roots over them
checkpoints  the files of those that were signed
signing      a checkpoint after each commit, or why there is none
anchors      checkpoints as they were noted in another place
attested     what checkpoints prove of a manifest
bundle       a file that shows to a stranger what was recorded of some time
told         what the process that signs says of itself
main         the process that signs
"""
