"""icebrick key list, add, remove, passwd"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from icebrick.backend.base import FileType
from icebrick.cli.command import LazyGroup, command
from icebrick.cli.invocation import this_invocation
from icebrick.cli.output import counted, table
from icebrick.cli.password import read_new_password
from icebrick.cli.repository import lock_wait, opened_repository
from icebrick.errors import RepositoryError
from icebrick.repository.keyfile import KeyFile
from icebrick.repository.repository import Repository

GROUP_EXAMPLES = """
icebrick -r main key list
icebrick -r main key add --new-password-file second.password
icebrick -r main key passwd
icebrick -r main key remove 1a2b4d5e
"""
LIST_EXAMPLES = """
icebrick -r main key list
icebrick -r main key list --json
"""
ADD_EXAMPLES = """
icebrick -r main key add
icebrick -r main key add --new-password-file second.password
"""
REMOVE_EXAMPLES = """
icebrick -r main key remove 1a2b4d5e
"""
CHANGE_EXAMPLES = """
icebrick -r main key passwd
icebrick -r main key passwd --new-password-file new.password
"""

_COMMANDS = {
    "list": (__name__, "List the keys."),
    "add": (__name__, "Let another password open the repository too."),
    "remove": (__name__, "Take a password its access away."),
    "passwd": (__name__, "Replace the password in use by another."),
}

_new_password_file = click.option(
    "--new-password-file",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="File that holds the new password; asked for at a terminal without it.",
)


@click.group("key", cls=LazyGroup, commands_in=_COMMANDS, examples=GROUP_EXAMPLES)
def key() -> None:
    """Manage the passwords that open the repository.

    Each key holds the repository's one master key, sealed with a password. Whoever had a password may have kept the
    master key: to remove a key shuts nobody out who could read the repository before.
    """


@command("list", examples=LIST_EXAMPLES)
def list_keys() -> None:
    """List the keys. The one in use is marked with *."""
    invocation = this_invocation()
    with opened_repository(invocation) as repository:
        keys = repository.keys()
        in_use = repository.key_id
    rows = [
        ("*" if each.id == in_use else "", each.id[:8], each.username, each.hostname, _created(each)) for each in keys
    ]
    invocation.output.result(
        f"{table(('', 'id', 'user', 'host', 'created'), rows)}\n{counted(len(rows), 'key')}",
        [_record(each, current=each.id == in_use) for each in keys],
    )


list: click.Command = list_keys


@command("add", examples=ADD_EXAMPLES)
@_new_password_file
def add(new_password_file: Path | None) -> None:
    """Let another password open the repository too."""
    invocation = this_invocation()
    with opened_repository(invocation) as repository:
        password = read_new_password(new_password_file)  # before the lock: it may take somebody long
        with repository.lock(wait=lock_wait(invocation)):
            made = repository.add_key(password)
    invocation.output.result(f"added key {made.id}", {"message_type": "summary", "added": made.id})


@command("remove", examples=REMOVE_EXAMPLES)
@click.argument("key_id", metavar="ID")
def remove(key_id: str) -> None:
    """Take a password its access away. ID may be the beginning of one; the key in use stays."""
    invocation = this_invocation()
    with opened_repository(invocation) as repository, repository.lock(exclusive=True, wait=lock_wait(invocation)):
        found = _find(repository, key_id)
        repository.remove_key(found)
    invocation.output.result(f"removed key {found}", {"message_type": "summary", "removed": found})


@command("passwd", examples=CHANGE_EXAMPLES)
@_new_password_file
def passwd(new_password_file: Path | None) -> None:
    """Replace the password in use by another.

    The key of the old password is removed when the new one is known to open the repository.
    """
    invocation = this_invocation()
    with opened_repository(invocation) as repository:
        password = read_new_password(new_password_file)
        with repository.lock(exclusive=True, wait=lock_wait(invocation)):
            old = repository.key_id
            made = repository.change_password(password)
    record = {"message_type": "summary", "added": made.id, "removed": old}
    invocation.output.result(f"key {made.id} is in the place of {old}", record)


def _find(repository: Repository, prefix: str) -> str:
    """The id of the one key file, damaged or not, whose id begins so."""
    names = [info.handle.name for info in repository.backend.list_files(FileType.KEY)]
    found = [name for name in names if prefix and name.startswith(prefix)]
    if len(found) != 1:
        raise RepositoryError(
            f"{len(found) or 'no'} keys have an id that starts with {prefix!r}",
            hint="'icebrick key list' tells which there are.",
        )
    return found[0]


def _created(key_file: KeyFile) -> str:
    return f"{key_file.created.to_datetime().astimezone():%Y-%m-%d %H:%M:%S}"


def _record(key_file: KeyFile, *, current: bool) -> dict[str, Any]:
    """Restic's names."""
    return {
        "current": current,
        "id": key_file.id,
        "userName": key_file.username,
        "hostName": key_file.hostname,
        "created": str(key_file.created),
    }
