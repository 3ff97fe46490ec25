"""The kernel's log lines on their way to capture, under the LOG engines only.

main      the process `anetcon-kmsg`: reads /dev/kmsg as fast as it can and does nothing else
packets   what it passes to capture: many records and when they were read
"""
