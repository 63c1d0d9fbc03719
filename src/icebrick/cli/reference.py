"""The reference pages, made from the commands and options themselves: `python -m icebrick.cli.reference DIRECTORY`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from icebrick.cli.main import icebrick
from icebrick.config.reference import configuration_page

_HEAD = """\
# Command line

<!-- Made by `make docs` from the commands' own help. Change it there. -->

The options of every command may stand before or after the command's name.

Exit codes: 0 done; 1 failed; 2 wrong arguments or configuration; 3 done in part, or a verification found differences;
10 no repository; 11 repository locked; 12 wrong password; 130 interrupted.

With `--json`, results and progress are JSON objects on standard output, one a line, each with a `message_type`:
`status`, `summary`, `plan`, `receipt`, ... Errors, warnings and log lines are JSON objects on standard error, of
which the last is `{"message_type": "exit_error", "code": ..., "message": ...}` when a command fails.
"""


def cli_page() -> str:
    """Markdown."""
    pages = [_page(path, command, context) for path, command, context in _commands("icebrick", icebrick, None)]
    return "\n".join([_HEAD, *pages])


def _commands(
    path: str, command: click.Command, parent: click.Context | None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    context = click.Context(command, parent, info_name=path.rpartition(" ")[2], max_content_width=100)
    yield path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _commands(f"{path} {name}", child, context)


def _page(path: str, command: click.Command, context: click.Context) -> str:
    context.terminal_width = 100
    return f"## {path}\n\n```\n{command.get_help(context)}\n```\n"


def main() -> None:
    """Write both pages."""
    directory = Path(sys.argv[1])
    (directory / "cli.md").write_text(cli_page(), "utf-8")
    (directory / "configuration.md").write_text(configuration_page(), "utf-8")


if __name__ == "__main__":
    main()
