"""Stock restic's word on every repository that a test makes, on disk or in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from icebrick.backend.base import FileType, ReadBackend
from icebrick.backend.layout import path_of
from icebrick.backend.local import LocalBackend
from icebrick.errors import RepositoryError, WrongPasswordError
from icebrick.repository.configfile import config_exists
from icebrick.repository.keyfile import open_key
from icebrick.secret import Secret
from icebrick.testing.restic import Restic

PASSWORDS = ("correct horse battery staple", "correct horse", "geheim", "anders", "neues", "known answer")
"""What tests protect their repositories with."""


def problems_on_disk(program: str, folder: Path) -> Iterator[str]:
    """What `program`, a restic, finds wrong with any repository at or below `folder`."""
    for repository in _repositories(folder):
        try:
            password = _password_of(repository)
        except RepositoryError as error:
            yield f"{repository} cannot be checked: {error}"
            continue
        # Without a lock, as tests may leave locks of other hosts behind.
        checked = Restic(program, repository, password).attempt("check", "--read-data", "--no-lock")
        if checked.returncode:
            yield f"restic check of {repository}: {checked.stdout}{checked.stderr}"


def problems_in_memory(program: str, backend: ReadBackend) -> Iterator[str]:
    """The same for a backend, which need not be one of a repository."""
    if config_exists(backend) and any(backend.list_files(FileType.KEY)):
        with tempfile.TemporaryDirectory(prefix="icebrick-whole-") as folder:
            _write_out(backend, Path(folder))
            yield from problems_on_disk(program, Path(folder))


def _repositories(folder: Path) -> Iterator[Path]:
    for root, directories, files in os.walk(folder):
        if FileType.CONFIG.value in files and any(Path(root, FileType.KEY.value).glob("*")):
            directories.clear()
            yield Path(root)


def _password_of(repository: Path) -> str:
    backend = LocalBackend(repository)
    for password in PASSWORDS:
        try:
            open_key(backend, Secret(password))
        except WrongPasswordError:
            continue
        return password
    raise WrongPasswordError(f"none of the passwords of the tests opens {repository}")


def _write_out(backend: ReadBackend, folder: Path) -> None:
    for file_type in FileType:
        if file_type is not FileType.CONFIG:
            (folder / file_type.value).mkdir()
        for info in backend.list_files(file_type):
            path = folder / path_of(info.handle)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(backend.load(info.handle))
