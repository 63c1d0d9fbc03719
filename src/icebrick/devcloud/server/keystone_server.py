"""All of Keystone in one process: keys, database and accounts where they are missing, then its HTTP interface."""

from __future__ import annotations

import json
import os
import sys
import types
import warnings
from pathlib import Path

import serving
import sqlite_sharing

KEY_FOLDERS = ("fernet-keys", "credential-keys")
MARK = "keystone.seeded"


def make_keys(directory: Path) -> None:
    """What `keystone-manage fernet_setup` and `credential_setup` do: a staged key "0" and a primary key "1"."""
    from cryptography.fernet import Fernet  # noqa: PLC0415

    for folder in KEY_FOLDERS:
        path = directory / folder
        path.mkdir(mode=0o700, exist_ok=True)
        for name in ("0", "1"):
            if not (path / name).exists():
                part = path.with_name(f"{folder}.part")  # a half-written key would stop Keystone for good
                part.touch(mode=0o600)
                part.write_bytes(Fernet.generate_key())
                part.rename(path / name)


def drop_half_made_database(directory: Path) -> None:
    """Remove a database whose seeding did not end; the accounts already in it would stop the next seeding."""
    if not (directory / MARK).exists():
        for path in directory.glob("keystone.db*"):
            path.unlink()
        sqlite_sharing.use_write_ahead_log(str(directory / "keystone.db"))


def make_database(directory: Path) -> None:
    """Migrate the database and make the accounts, once: a restart finds the mark."""
    if (directory / MARK).exists():
        return
    import keystone_seed  # noqa: PLC0415
    from keystone.common.sql import upgrades  # noqa: PLC0415

    upgrades.offline_sync_database_to_version()
    keystone_seed.seed(json.loads((directory / "seed.json").read_text()))
    (directory / MARK).touch()


def leave_out_saml() -> None:
    """Nobody federates here, and reading the standard's XML schemas takes a quarter of the start."""
    name = "keystone.federation.idp"
    sys.modules[name] = types.ModuleType(name)


def main() -> None:
    arguments = serving.parse_arguments("Keystone of a devcloud")
    serving.die_with(arguments.owner)
    directory = Path(arguments.directory)
    sys.argv = sys.argv[:1]  # Keystone reads its own options from here
    os.environ["OS_KEYSTONE_CONFIG_FILES"] = str(directory / "keystone.conf")
    warnings.simplefilter("ignore")
    make_keys(directory)
    drop_half_made_database(directory)
    sqlite_sharing.share_database()
    leave_out_saml()

    from keystone.server import wsgi  # noqa: PLC0415 - reads the variable set above

    # The application first: its managers can be made only once in a process, and seeding uses them.
    application = wsgi.initialize_public_application()
    make_database(directory)
    serving.serve(application, arguments)


if __name__ == "__main__":
    main()
