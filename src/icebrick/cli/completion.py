"""icebrick completion SHELL"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from icebrick.cli.command import command

EXAMPLES = """
icebrick completion bash > /etc/bash_completion.d/icebrick
icebrick completion zsh > ~/.zfunc/_icebrick
icebrick completion fish > ~/.config/fish/completions/icebrick.fish
"""


@command("completion", examples=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the shell's completion script."""
    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(context.find_root().command, {}, "icebrick", "_ICEBRICK_COMPLETE").source())
