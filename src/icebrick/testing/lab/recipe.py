"""What is in a guest, and where Debian's packages come from."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

KERNEL_PACKAGE = "user-mode-linux"
ROOT_MIB = 2048
SCRATCH_MIB = 65536
_FIELDS = ("REPO_URI", "RELEASE", "COMPONENT", "ORIGIN", "SIGNED_BY")
_HANDED_ON = ("Acquire::http", "Acquire::https", "Acquire::Retries", "Acquire::Check-", "Acquire::ForceIPv")

START = """\
#!/bin/bash
# What a guest's kernel runs first, and all that a guest has of ours: the rest comes from its host.
mount -t proc proc /proc
for word in $(cat /proc/cmdline); do
    case $word in lab.folder=*) mkdir -p /lab; mount -t hostfs none /lab -o "${word#*=}" ;; esac
done
exec bash /lab/init
"""

PACKAGES = (
    "python3 ca-certificates udev kmod procps iproute2 iptables util-linux mount dmsetup "
    "open-iscsi lvm2 thin-provisioning-tools multipath-tools sg3-utils lsscsi "  # both ends of iSCSI
    "cryptsetup-bin e2fsprogs xfsprogs btrfs-progs qemu-utils restic"
)


class LabError(Exception):
    """No guest can be built or run; the message says why."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Debian suite such as bookworm, as the host's, and the lines of sources.list it comes from.

    `acquire` are the host's settings of how packages are fetched: a proxy, for example.
    """

    suite: str
    sources: tuple[str, ...]
    acquire: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Guests with the same one are the same, but for the packages' newest fixes."""
        content = [self.suite, PACKAGES, START, str(ROOT_MIB), str(SCRATCH_MIB)]
        return hashlib.sha256("\0".join(content).encode()).hexdigest()[:16]


def recipe_of_host() -> Recipe:
    """LabError where this is no Debian with package lists."""
    lines = _output("apt-get", "indextargets", "--format", "|".join(f"$({name})" for name in _FIELDS))
    sources: dict[str, None] = {}
    for line in lines.splitlines():
        uri, release, component, origin, signed_by = line.split("|")
        if origin == "Debian":
            option = f"[signed-by={signed_by}] " if signed_by.startswith("/") else ""
            sources[f"deb {option}{uri} {release} {component}"] = None
    if not sources:
        raise LabError("apt has no package lists of Debian; run 'apt-get update'")
    settings = _output("apt-config", "dump", "--format", '%f "%v";%n')
    acquire = tuple(line for line in settings.splitlines() if line.startswith(_HANDED_ON) and not line.endswith(' "";'))
    return Recipe(_suite(), tuple(sources), acquire)


def _suite() -> str:
    release = Path("/etc/os-release").read_text()
    fields = dict(line.split("=", 1) for line in release.splitlines() if "=" in line)
    if fields.get("ID") != "debian" or "VERSION_CODENAME" not in fields:
        raise LabError("a guest is made of the packages of a Debian release, and this host is none")
    return fields["VERSION_CODENAME"].strip('"')


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise LabError(f"{' '.join(command[:2])} failed: {error}") from error
