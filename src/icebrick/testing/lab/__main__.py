"""Build a guest, or run a command in one: python -m icebrick.testing.lab build|run [OPTIONS] -- COMMAND"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from icebrick.testing.lab.guest import Job, run_in_guest
from icebrick.testing.lab.image import default_folder, prepare_image
from icebrick.testing.lab.python import pack, python_environment, python_folders
from icebrick.testing.lab.recipe import LabError, recipe_of_host


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        image = prepare_image(default_folder(), recipe_of_host())
        if options.what == "build":
            sys.stdout.write(f"{image.folder}\n")
            return 0
        return run_in_guest(image, _job(options), sys.stdout.buffer)
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m icebrick.testing.lab", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("build", help="build what guests start from, if it is not there")
    run = commands.add_parser("run", help="run a command in a new guest; 124: it took too long, 125: the guest died")
    run.add_argument("--share", type=Path, action="append", default=[], metavar="DIR", help="let it write there")
    run.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    run.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS")
    run.add_argument("--memory", type=int, default=3072, metavar="MIB")
    run.add_argument("--bare", action="store_true", help="let it see nothing of the host")
    run.add_argument("command", nargs="+", help="sees the working directory and this Python at their paths")
    return parser


def _job(options: argparse.Namespace) -> Job:
    named = dict(text.split("=", 1) for text in options.env)
    folders = [] if options.bare else python_folders()
    return Job(
        command=options.command,
        seen=[] if options.bare else [Path.cwd()],
        packed=folders,
        pack=pack(default_folder(), folders) if folders else None,
        shared=[path.resolve() for path in options.share],
        environment={**python_environment(), **named},
        working=Path("/root") if options.bare else Path.cwd(),
        seconds=options.timeout,
        memory_mib=options.memory,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
