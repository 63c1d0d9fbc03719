"""Barbican in one process: its API, which does all work itself, and its own software for secrets in the database."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import serving
import sqlite_sharing
from oslo_config import cfg
from paste import deploy


def configure(directory: Path) -> None:
    """Barbican reads its configuration wherever it is imported, from the files that this finds."""
    files = [str(directory / "barbican.conf")]
    cfg.find_config_files = lambda *args, **kwargs: files


def main() -> None:
    arguments = serving.parse_arguments("Barbican of a devcloud")
    serving.die_with(arguments.owner)
    sys.argv = sys.argv[:1]
    directory = Path(arguments.directory)
    configure(directory)
    sqlite_sharing.use_write_ahead_log(str(directory / "barbican.db"))
    paste_file = Path(sys.prefix) / "etc" / "barbican" / "barbican-api-paste.ini"
    os.umask(0o077)
    serving.serve(deploy.loadapp(f"config:{paste_file}", name="main"), arguments)


if __name__ == "__main__":
    main()
