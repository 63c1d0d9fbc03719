"""icebrick version"""

from __future__ import annotations

import json
import platform

import click

from icebrick import __version__
from icebrick.cli.command import Given, command

EXAMPLES = """
icebrick version
icebrick version --json
"""


@command("version", examples=EXAMPLES)
@click.pass_context
def version(context: click.Context) -> None:
    """Print the version."""
    if Given.of(context).json:
        click.echo(json.dumps({"message_type": "version", "version": __version__, "python": platform.python_version()}))
    else:
        click.echo(f"icebrick {__version__} on Python {platform.python_version()}")
