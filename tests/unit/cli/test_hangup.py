from __future__ import annotations

import os
import signal

from icebrick.cli.signals import unwind_on_signals


def test_a_hangup_as_sent_by_restic_unlock_ends_nothing() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with unwind_on_signals():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is before
