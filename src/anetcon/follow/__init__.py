"""Followers of the journal, in one unprivileged process: the sealer and the text logs. Slow or failing ones cost
capture nothing and lose nothing: each goes on where it was.

    main        the process: signals, turns, what happens when one of them fails
    settings    what is configured
    sealing     the sealer's turns (anetcon.store.seal)
    position    how far the text logs are, on disk
    quiet       when the text logs begin, where rsyslog wrote them until then
    sinks/      the text logs, and the file that lists namespaces
"""
