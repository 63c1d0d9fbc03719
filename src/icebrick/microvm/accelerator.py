"""Whether the processor's help with virtual machines works here, found out by using it.

That /dev/kvm is there, and even that machines can be made with it, does not say so: inside other virtual machines it
may be slower than doing without, or not come to an end at all.
"""

from __future__ import annotations

import logging
from pathlib import Path

from icebrick.errors import ReaderError
from icebrick.microvm.channel import Patience
from icebrick.microvm.image import Image
from icebrick.microvm.machine import started
from icebrick.microvm.qemu import Accelerator, may_use_kvm

log = logging.getLogger(__name__)

SECONDS = 10.0
"""With the processor's help a guest is there in one."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def working_accelerator(image: Image, directory: Path) -> Accelerator:
    """Tried once since this host was started; the result is kept in `directory`."""
    if not may_use_kvm():
        return Accelerator.TCG
    kept = directory / "accelerator"
    boot_id = _BOOT_ID.read_text().strip()
    try:
        known, _, word = kept.read_text().strip().partition(" ")
        if known == boot_id:
            return Accelerator(word)
    except (OSError, ValueError):
        pass  # nobody has tried, or what is there is not ours
    found = Accelerator.KVM if works(image, Accelerator.KVM) else Accelerator.TCG
    try:
        kept.write_text(f"{boot_id} {found.value}\n")
    except OSError as error:
        log.warning("cannot keep what was found out about %s: %s", found.value, error)
    return found


def works(image: Image, accelerator: Accelerator, seconds: float = SECONDS) -> bool:
    """Whether a guest without disks comes up within the time."""
    try:
        with started(image, [], accelerator, patience=Patience(seconds, seconds)):
            return True
    except ReaderError as error:
        log.info("no use of %s: %s", accelerator.value, error)
        return False
