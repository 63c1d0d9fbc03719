"""The command `icebrick`: its commands, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import click

from icebrick.cli.command import Given, LazyGroup
from icebrick.cli.output import drop_stdout, printable
from icebrick.cli.signals import unwind_on_signals
from icebrick.errors import IcebrickError
from icebrick.process import keep_freed_memory, open_many_files, start_no_idle_threads

INTERRUPTED = 130

_BUG_HINT = "This is a bug in icebrick. Please report it with the lines above."

COMMANDS = {
    "init": ("icebrick.cli.init", "Create a repository."),
    "backup": ("icebrick.cli.backup", "Back up volumes, or an image file."),
    "snapshots": ("icebrick.cli.snapshots", "List what is in the repository."),
    "ls": ("icebrick.cli.ls", "List what is in a snapshot."),
    "find": ("icebrick.cli.find", "Find files in all snapshots."),
    "diff": ("icebrick.cli.diff", "Show what differs between two snapshots."),
    "stats": ("icebrick.cli.stats", "Count what snapshots hold: those that are named, or all."),
    "dump": ("icebrick.cli.dump", "Write a file of a snapshot to standard output."),
    "mount": ("icebrick.cli.mount", "Show all snapshots as directories of this host."),
    "restore": ("icebrick.cli.restore", "Restore volumes in the cloud, or an image or files to this host."),
    "verify": ("icebrick.cli.verify", "Prove that snapshots can be restored."),
    "run": ("icebrick.cli.run", "Do what a job says: a JSON file, or standard input."),
    "forget": ("icebrick.cli.forget", "Forget snapshots by rules, or by their ids."),
    "prune": ("icebrick.cli.prune", "Remove what no snapshot needs."),
    "copy": ("icebrick.cli.copy", "Copy snapshots from another repository."),
    "check": ("icebrick.cli.check", "Look for damage in the repository."),
    "check-backend": ("icebrick.cli.check_backend", "Find out whether a storage medium does what a repository needs."),
    "unlock": ("icebrick.cli.unlock", "Remove locks of processes that are gone."),
    "key": ("icebrick.cli.key", "Manage the passwords that open the repository."),
    "repair": ("icebrick.cli.repair", "Mend a damaged repository as far as it can be."),
    "reader": ("icebrick.cli.reader", "Prepare and try out the virtual machine that reads file systems."),
    "cleanup": ("icebrick.cli.cleanup", "Remove what killed runs left in the cloud."),
    "config": ("icebrick.cli.config", "Show the settings that count."),
    "completion": ("icebrick.cli.completion", "Print the shell's completion script."),
    "version": ("icebrick.cli.version", "Print the version."),
    "devcloud": ("icebrick.cli.devcloud", "Run a small Keystone and Cinder to try things out."),
}

EXAMPLES = """
icebrick -r /srv/backup init
icebrick -r /srv/backup --cloud prod backup --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f
icebrick -r /srv/backup snapshots
icebrick -r /srv/backup restore --snapshot latest --image-name disk1 --target disk1.raw
"""


@click.group(
    "icebrick",
    cls=LazyGroup,
    commands_in=COMMANDS,
    examples=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def icebrick() -> None:
    """Back up OpenStack Cinder volumes into restic repositories, and restore them."""


def main() -> None:
    """Entry point; never returns."""
    keep_freed_memory()
    open_many_files()
    start_no_idle_threads()
    arguments = sys.argv[1:]
    as_json = "--json" in arguments
    sys.excepthook = _bug_hook(as_json=as_json)
    sys.exit(run(arguments, as_json=as_json))


def run(arguments: Sequence[str], *, as_json: bool) -> int:
    """Run one command; the exit code. Errors that are bugs come through."""
    given = Given()
    try:
        with unwind_on_signals(given.stop):
            result = icebrick.main(list(arguments), prog_name="icebrick", standalone_mode=False, obj=given)
            sys.stdout.flush()
    except IcebrickError as error:
        return _fail(str(error), error.exit_code, error.hint, as_json=as_json)
    except click.ClickException as error:
        return _fail(_click_message(error), error.exit_code, _click_hint(error), as_json=as_json)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", INTERRUPTED, None, as_json=as_json)
    except BrokenPipeError:
        drop_stdout()
        return _fail("nobody reads the standard output any more", 1, None, as_json=as_json)
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int, hint: str | None, *, as_json: bool) -> int:
    if as_json:
        record: dict[str, Any] = {"message_type": "exit_error", "code": code, "message": message}
        if hint:
            record["hint"] = hint
        click.echo(json.dumps(record), err=True)
        return code
    click.echo(f"icebrick: error: {printable(message)}", err=True)
    if hint:
        click.echo(f"hint: {printable(hint)}", err=True)
    return code


def _click_message(error: click.ClickException) -> str:
    message = error.format_message().rstrip(".")
    return message[:1].lower() + message[1:]


def _click_hint(error: click.ClickException) -> str | None:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return None if context is None else f"See '{context.command_path} --help'."


def _bug_hook(*, as_json: bool) -> Any:
    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        traceback.print_exception(kind, error, trace)
        _fail(f"{kind.__name__}: {error}", 1, _BUG_HINT, as_json=as_json)

    return report
