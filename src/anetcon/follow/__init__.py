"""Followers of the journal, in one unprivileged process: the sealer and the text logs. Slow or failing ones cost
capture nothing and lose nothing: each goes on where it was.

    main        the process: signals, turns, what happens when one of them fails
    settings    what is configured
    sealing     the sealer's turns (anetcon.store.seal)
    text        the two text logs: exactly once, whatever happens in between
    position    how far the text logs are, on disk
    lines       connections as lines of text
"""
