"""The command line's reference page, made from the commands' own help."""

from __future__ import annotations

from collections.abc import Iterator

import click

from icebrick.cli.main import icebrick

_WIDTH = 100

_HEAD = """\
# Command line

<!-- Made by `make docs` from the commands' own help. Change it there. -->

The options of every command may stand before or after the command's name.

Exit codes: 0 done; 1 failed; 2 wrong arguments or configuration; 3 some of several volumes or files failed, or a
verification found differences; 10 no repository; 11 repository locked; 12 wrong password; 130 interrupted.

With `--json`, results and progress are JSON objects on standard output, one a line, each with a `message_type`:
`status`, `summary`, `plan`, `receipt`, ... Errors, warnings and log lines are JSON objects on standard error, of
which the last is `{"message_type": "exit_error", "code": ..., "message": ...}` when a command fails. A backup's
or restore's `summary` comes also when volumes failed, and tells which in `failures`.
"""


def cli_page() -> str:
    """Markdown."""
    pages = [_page(path, command, context) for path, command, context in _commands("icebrick", icebrick, None)]
    return "\n".join([_HEAD, *pages])


def _commands(
    path: str, command: click.Command, parent: click.Context | None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    settings = {**command.context_settings, "terminal_width": _WIDTH}
    context = click.Context(command, parent, info_name=path.rpartition(" ")[2], **settings)
    yield path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _commands(f"{path} {name}", child, context)


def _page(path: str, command: click.Command, context: click.Context) -> str:
    return f"## {path}\n\n```\n{command.get_help(context)}\n```\n"
