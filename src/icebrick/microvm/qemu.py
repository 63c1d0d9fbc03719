"""How QEMU is started: with as little as possible, as nobody, and within limits that the kernel keeps."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from icebrick.errors import ReaderError
from icebrick.microvm.interpreter import python_command

_QEMU, _PACKAGE = "qemu-system-x86_64", "qemu-system-x86"
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_SPARE_USERS = range(61184, 65520)
"""Those that systemd gives to services which have no account; see its UIDS-GIDS.md."""
_KVM = "/dev/kvm"
_OWN_MEMORY = 2 << 30
"""Address space of QEMU itself: libraries, threads, buffers, and under TCG the code that it translates."""
_TRANSLATED = 64
_OPEN_FILES = 256

_KERNEL_OPTIONS = (
    "console=ttyS0 quiet loglevel=3 panic=-1 oops=panic mitigations=off nokaslr tsc=reliable no_timer_check "
    "random.trust_cpu=on cryptomgr.notests edd=off 8250.nr_uarts=1 nomodule_sig no_hash_pointers"
)


class Accelerator(Enum):
    """What runs the guest's instructions: the processor, or QEMU's translation of them."""

    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one guest, in bytes: its memory, and what its disks may change."""

    memory: int = 384 << 20
    changes: int = 8 << 30


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a guest is made of, as descriptors that QEMU inherits; `disks` are opened for reading only."""

    kernel: int
    files: int
    channel: int
    disks: Sequence[int]
    accelerator: Accelerator
    limits: Limits

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self.kernel, self.files, self.channel, *self.disks)


def find_qemu() -> str:
    """Where it is; ReaderError when it is not installed."""
    return _find(_QEMU, _PACKAGE)


def command(hardware: Hardware) -> list[str]:
    """All of the command line: QEMU, and before it what gives up every right that it does not need."""
    return [*_confined(hardware), find_qemu(), *_arguments(hardware)]


def spare_user() -> int | None:
    """A user of this host that nothing else is, with no rights at all; None for who cannot become one."""
    return secrets.choice(_SPARE_USERS) if os.geteuid() == 0 else None


def may_use_kvm() -> bool:
    """Whether it is worth trying; that the device is there does not mean that it works."""
    return os.access(_KVM, os.R_OK | os.W_OK)


def _confined(hardware: Hardware) -> Iterator[str]:
    limits = hardware.limits
    yield from (_find("prlimit", "util-linux"), f"--as={limits.memory + _OWN_MEMORY}", f"--fsize={limits.changes}")
    yield from ("--core=0", f"--nofile={_OPEN_FILES}", "--")
    if os.geteuid() == 0:
        yield from (_find("unshare", "util-linux"), "--net", "--ipc", "--uts", "--")
    yield from (_find("setpriv", "util-linux"), "--no-new-privs", "--pdeathsig=KILL")
    if (user := spare_user()) is not None:
        yield from (f"--reuid={user}", f"--regid={user}", "--bounding-set=-all", "--inh-caps=-all")
        kvm = hardware.accelerator is Accelerator.KVM
        yield f"--groups={os.stat(_KVM).st_gid}" if kvm else "--clear-groups"
    yield "--"


def _arguments(hardware: Hardware) -> Iterator[str]:
    kvm = hardware.accelerator is Accelerator.KVM
    yield from ("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none", "-smp", "1")
    yield from ("-machine", "q35,graphics=off,usb=off,sata=off,smbus=off,vmport=off")
    yield from ("-accel", "kvm" if kvm else f"tcg,tb-size={_TRANSLATED}", "-cpu", "max")
    yield from ("-m", f"{hardware.limits.memory >> 20}M")
    yield from ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
    yield from ("-kernel", f"/proc/self/fd/{hardware.kernel}", "-initrd", f"/proc/self/fd/{hardware.files}")
    yield from ("-append", _kernel_command_line(hardware))
    yield from ("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console")
    yield from ("-chardev", f"socket,id=host,fd={hardware.channel}", "-device", "virtio-serial-pci,max_ports=2")
    yield from ("-device", "virtserialport,chardev=host,nr=1")
    for number, disk in enumerate(hardware.disks):
        yield from ("-add-fd", f"fd={disk},set={number}")
        driver = "host_device" if stat.S_ISBLK(os.fstat(disk).st_mode) else "file"
        drive = f"file.driver={driver},file.filename=/dev/fdset/{number},file.locking=off,format=raw"
        yield from ("-drive", f"if=none,id=disk{number},{drive},snapshot=on,cache=unsafe")
        yield from ("-device", f"virtio-blk-pci,drive=disk{number}")


def _kernel_command_line(hardware: Hardware) -> str:
    program, *arguments = python_command()
    options = f"{_KERNEL_OPTIONS} rdinit={program}"
    if hardware.accelerator is Accelerator.TCG and (speed := _clock_khz()):
        # The guest would measure a clock that is this host's by one that is not, and be wrong on a busy host.
        options += f" tsc_early_khz={speed}"
    return f"{options} -- {' '.join(arguments)}"


def _clock_khz() -> int:
    """Of the processor's time stamp counter; 0 when the kernel does not tell."""
    found = re.search(r"^bogomips\s*:\s*([\d.]+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return int(float(found[1]) * 500) if found else 0


def _find(program: str, package: str) -> str:
    path = shutil.which(program, path=_PATH)
    if path is None:
        raise ReaderError(
            f"the program {program} is not installed",
            hint=f"Debian has it in the package {package}. Without it there is --reader host, or --mode blocks.",
        )
    return path
