"""The process that signs: `anetcon sign`. It looks at the manifest every few seconds, and signs what is new."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

from anetcon.proof.certificate import HERE
from anetcon.proof.keyring import Keyring
from anetcon.proof.signing import Signer
from anetcon.store import layout
from anetcon.store.layout import sign_folder
from anetcon.system.report import NOTICE, WARNING, report, reporter

LOOK_SECONDS, TELL_SECONDS = 2.0, 60.0
"""How often it looks whether the manifest has changed, and how often it is seen to live."""
ENDS = (signal.SIGTERM, signal.SIGINT)


def main(store: Path, node: str) -> None:
    """Sign until a signal. Where there are no keys they are made, which an operator can do better (`anetcon keys
    init`). Raises KeyringError, OSError where they cannot be."""
    reporter.introduce("anetcon-sign")
    ended = _ended()
    os.umask(0o027)
    folder = sign_folder(store)
    keys = Keyring(folder)
    if not keys.exists():
        trusted = keys.init(node)
        report(f"{NOTICE}made keys, by a root made {HERE} and erased; note this key elsewhere: {trusted.root}")
    signer = Signer(store, folder)
    seen: tuple[int, ...] | None = None
    told = float("-inf")
    while True:
        now = _changed(store)
        is_new, is_due = now != seen, time.monotonic() - told >= TELL_SECONDS
        if is_new or is_due:
            seen, told = now, time.monotonic()
            try:
                if is_new:
                    signer.step()
                else:
                    signer.live()
            except OSError as error:
                report(f"{WARNING}cannot sign: {error.strerror}; trying again")
                seen = None
        if select.select([ended], [], [], LOOK_SECONDS)[0]:
            return


def _ended() -> int:
    """What can be read from as soon as one of the signals has come, whichever thread of a library it came to."""
    ended, told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    for number in ENDS:
        signal.signal(number, lambda *_: None)
    return ended


def _changed(store: Path) -> tuple[int, ...]:
    """By which a manifest that was written to is known."""
    try:
        found = layout.manifest_path(store).stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
