"""icebrick version"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version as installed_version

import click

from icebrick.cli.command import Given, command

EXAMPLES = """
icebrick version
icebrick version --json
"""


@command("version", examples=EXAMPLES)
@click.pass_context
def version(context: click.Context) -> None:
    """Print the version."""
    number = installed_version("icebrick")
    if Given.of(context).json:
        click.echo(json.dumps({"message_type": "version", "version": number, "python": platform.python_version()}))
    else:
        click.echo(f"icebrick {number} on Python {platform.python_version()}")
