"""What can be proven of a store: that the lines of its manifest are those that were signed.

merkle  RFC 6962's tree: roots, and what shows that a line is under one, or that one tree goes on from another
note    signed notes and checkpoints, as C2SP has them
"""
