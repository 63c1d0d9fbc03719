"""Where a repository's password comes from: a file, the environment, or somebody at a terminal."""

from __future__ import annotations

import logging
import os
import stat
import sys
from pathlib import Path

import click

from icebrick.config.settings import RepositorySettings
from icebrick.errors import UsageError
from icebrick.secret import Secret

log = logging.getLogger(__name__)

_MAX_BYTES = 1 << 20


def read_password(settings: RepositorySettings, *, new: bool = False) -> Secret:
    """The password; a `new` one is asked for twice. UsageError when there is none, or an empty one."""
    if settings.password_file is not None:
        return _from_file(settings.password_file)
    if settings.password is not None:
        return settings.password
    if not sys.stdin.isatty():
        raise UsageError(
            "no password for the repository",
            hint="Name a file with --password-file or RESTIC_PASSWORD_FILE, or set RESTIC_PASSWORD.",
        )
    return _asked(f"password for {'new ' if new else ''}repository {settings.location}", twice=new)


def read_new_password(path: Path | None) -> Secret:
    """One that is to open a repository too: from the file, else asked for twice. UsageError when there is none."""
    if path is not None:
        return _from_file(path)
    if not sys.stdin.isatty():
        raise UsageError("no new password", hint="Name a file with --new-password-file.")
    return _asked("new password", twice=True)


def _asked(what: str, *, twice: bool) -> Secret:
    confirmation = "again, to be sure" if twice else False
    return Secret(click.prompt(what, hide_input=True, err=True, confirmation_prompt=confirmation))


def _from_file(path: Path) -> Secret:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MAX_BYTES).decode().strip()
    except OSError as error:
        raise UsageError(f"cannot read password file {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        # "from None": the error's text would hold a part of the file
        raise UsageError(f"password file {path} is not UTF-8 text") from None
    if not text:
        raise UsageError(f"password file {path} is empty")
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        log.warning("everybody on this host can read password file %s", path)
    return Secret(text)
