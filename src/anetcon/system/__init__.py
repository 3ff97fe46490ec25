"""What Linux gives a process, and Python's library does not say as simply. Imports nothing else of ours.

clock       wall-clock time as the records have it
memory      how processes that move much data keep their memory
printable   text that somebody else chose: as it is recorded, and as people are shown it
netns       entering a network namespace, and coming home
ondisk      files, so opened that no link leads elsewhere, and so replaced that readers see the old or the new
privileges  the capabilities of a process
process     starting a child that dies with us
readers     the group of those who may read the records
report      lines to the daemon's own log
syscalls    system calls and kernel constants that Python 3.11 lacks
"""
