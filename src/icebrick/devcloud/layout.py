"""Where a devcloud keeps what: everything is in one directory."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from icebrick.errors import UsageError

# The path goes into configuration files and database URLs, which give other characters a meaning.
_PLAIN_PATH = re.compile(r"/[\w./+,=@-]*")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of the devcloud in `directory`, which is absolute and free of symbolic links."""

    directory: Path

    @property
    def record(self) -> Path:
        return self.directory / "devcloud.json"

    @property
    def clouds(self) -> Path:
        return self.directory / "clouds.yaml"

    @property
    def seed(self) -> Path:
        return self.directory / "seed.json"

    @property
    def faults(self) -> Path:
        return self.directory / "faults.json"

    @property
    def holds(self) -> Path:
        return self.directory / "holds"

    @property
    def operations(self) -> Path:
        return self.directory / "ops.jsonl"

    @property
    def pool(self) -> Path:
        """The folder of volumes and volume snapshots: a mount point, or with file system "none" a plain folder."""
        return self.directory / "pool"

    @property
    def pool_image(self) -> Path:
        return self.directory / "pool.img"

    @property
    def alive(self) -> Path:
        """Held with a shared lock by each server, and by the programs it runs, until it has ended."""
        return self.directory / "alive.lock"

    def config(self, server: str) -> Path:
        return self.directory / f"{server}.conf"

    def log(self, server: str) -> Path:
        return self.directory / f"{server}.log"

    def output(self, server: str) -> Path:
        """What the server wrote outside its log, such as the reason why it could not start."""
        return self.directory / f"{server}.out"


def layout_of(directory: Path) -> Layout:
    """The layout of `directory`, which need not exist; UsageError for a path that the servers cannot take."""
    real = directory.expanduser().resolve()
    if not _PLAIN_PATH.fullmatch(str(real)):
        raise UsageError(
            f"cannot use directory {real} for a devcloud",
            hint="Choose a path of letters, digits and the characters . _ - + , = @ only.",
        )
    return Layout(real)


def write_private(path: Path, text: str) -> None:
    """Write `path` for its owner's eyes only; a reader sees the old file or all of the new one."""
    part = path.with_name(f"{path.name}.part")
    with os.fdopen(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    part.rename(path)
