"""How each contender is told to back up and restore an image, as its manual says, with its defaults."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "a password for measuring"


@dataclass(frozen=True, slots=True)
class Contender:
    """Commands run in a directory that holds `volume.img` and a repository `repo-NAME` of the contender's own."""

    name: str
    init: Sequence[str] | None
    backup: Sequence[str]
    restore: Sequence[str]
    restored: str
    """Where the restored image then is."""
    env: Mapping[str, str]


def icebrick() -> Contender:
    command = (str(Path(sys.executable).with_name("icebrick")), "-q", "-r", "repo-icebrick")
    return Contender(
        "icebrick",
        (*command, "init"),
        (*command, "backup", "--image", "volume.img", "--name", "volume"),
        (*command, "restore", "--image-name", "volume", "--target", "out/icebrick.img"),
        "out/icebrick.img",
        {"RESTIC_PASSWORD": PASSWORD},
    )


def restic() -> Contender:
    command = (shutil.which("restic") or "restic", "-q", "-r", "repo-restic")
    return Contender(
        "restic",
        (*command, "init"),
        (*command, "backup", "volume.img"),
        (*command, "restore", "latest", "--target", "out/restic"),
        "out/restic/volume.img",
        {"RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": "cache"},
    )


def tar() -> Contender:
    return Contender(
        "tar|gzip",
        None,
        ("sh", "-c", "tar -cSf - volume.img | gzip > repo-tar/volume.tar.gz"),
        ("sh", "-c", "gzip -dc repo-tar/volume.tar.gz | tar -xSf - -C out"),
        "out/volume.img",
        {},
    )
