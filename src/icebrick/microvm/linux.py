"""Linux kernels to start a guest with: this host's own, or one out of a Debian package that is only unpacked."""

from __future__ import annotations

import gzip
import lzma
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

from icebrick.errors import ReaderError

START = "start"
MODULES: Mapping[str, Sequence[str]] = {
    START: ("crc32c_generic", "virtio_pci", "virtio_blk", "virtio_console"),
    "ext4": ("ext4",),
    "xfs": ("xfs",),
    "btrfs": ("xxhash_generic", "blake2b_generic", "sha256_generic", "btrfs"),
    "vfat": ("nls_cp437", "nls_iso8859_1", "nls_utf8", "vfat"),
    "ntfs": ("fuse",),
}
"""What a guest needs at its start, and for each type of file system."""
_OPTIONAL = frozenset(
    {"crc32c_generic", "xxhash_generic", "blake2b_generic", "sha256_generic", "nls_cp437", "nls_utf8"}
)
_SUFFIX = re.compile(r"\.ko(?:\.gz|\.xz|\.zst)?$")


@dataclass(frozen=True, slots=True)
class Linux:
    """A kernel and where its modules are."""

    release: str
    kernel: Path
    modules: Path

    def modules_for(self, purpose: str) -> list[bytes]:
        """Those of `MODULES` that are not in the kernel, in the order in which they can be loaded; ReaderError."""
        files = {_name(path.name): path for path in sorted(self.modules.rglob("*.ko*")) if _SUFFIX.search(path.name)}
        inside = {_name(Path(line).name) for line in _lines(self.modules / "modules.builtin")}
        order: dict[str, bytes] = {}

        def add(name: str) -> None:
            if name in order or name in inside:
                return
            if name not in files:
                if name in _OPTIONAL:
                    return
                raise ReaderError(
                    f"the kernel {self.release} has no module {name}",
                    hint="Prepare another one: icebrick reader build --kernel-package FILE.deb.",
                )
            module = _unpacked(files[name])
            for needed in _dependencies(module):
                add(needed)
            order[name] = module

        for name in MODULES[purpose]:
            add(name)
        return list(order.values())


def find_linux(root: Path = Path("/")) -> Linux:
    """The running kernel's files, else the newest there are below `root`; ReaderError when there are none."""
    folders = [path for base in ("lib/modules", "usr/lib/modules") for path in (root / base).glob("*") if path.is_dir()]
    running = os.uname().release
    for modules in sorted(folders, key=lambda path: (path.name == running, _version(path.name)), reverse=True):
        for kernel in (root / "boot" / f"vmlinuz-{modules.name}", modules / "vmlinuz"):
            if kernel.is_file() and (modules / "modules.builtin").is_file():
                return Linux(modules.name, kernel, modules)
    raise ReaderError(
        "no kernel with its modules is found in /boot and /lib/modules",
        hint="Debian has them in linux-image-amd64; or 'icebrick reader build --kernel-package FILE.deb' takes a "
        "package that is not installed.",
    )


def _version(release: str) -> Sequence[tuple[int, str]]:
    return [(int(part or -1), text) for part, text in re.findall(r"(\d*)(\D*)", release)]


def _name(file_name: str) -> str:
    return _SUFFIX.sub("", file_name).replace("-", "_")


def _dependencies(module: bytes) -> list[str]:
    """Of the section .modinfo, which is text with zero bytes between its lines."""
    found = re.search(rb"\0depends=([^\0]*)\0", module)
    names = found[1].decode("ascii", "replace").split(",") if found else []
    return [name.replace("-", "_") for name in names if name]


def _unpacked(path: Path) -> bytes:
    data = _read(path)
    try:
        if path.suffix == ".xz":
            return lzma.decompress(data)
        if path.suffix == ".gz":
            return gzip.decompress(data)
        return zstandard.ZstdDecompressor().decompressobj().decompress(data) if path.suffix == ".zst" else data
    except (lzma.LZMAError, OSError, EOFError, zstandard.ZstdError) as error:
        raise ReaderError(f"the kernel's module {path} cannot be unpacked: {error}") from error


def _lines(path: Path) -> list[str]:
    return _read(path).decode("utf-8", "replace").splitlines()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReaderError(f"cannot read {path}: {error.strerror}") from error
