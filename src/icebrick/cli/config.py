"""icebrick config show"""

from __future__ import annotations

from typing import Any

import click

from icebrick.cli.command import LazyGroup, command
from icebrick.cli.invocation import this_invocation
from icebrick.cli.output import table
from icebrick.config.resolve import Resolved

EXAMPLES = """
icebrick config show
icebrick --config ./icebrick.conf -r main config show --json
"""


@click.group("config", cls=LazyGroup, commands_in={"show": (__name__, "Print each setting and its origin.")})
def config() -> None:
    """Show the settings that count."""


@command("show", examples=EXAMPLES)
def show() -> None:
    """Print each setting that counts, and where it came from. Secrets are masked."""
    invocation = this_invocation()
    settings = invocation.settings
    rows = [[f"[{each.section}]", each.option.key, each.shown, each.origin] for each in settings.resolved]
    text = f"file: {settings.file or 'none'}\n" + table(("section", "key", "value", "origin"), rows)
    record = {"file": None if settings.file is None else str(settings.file)}
    invocation.output.result(text, {**record, "settings": [_record(each) for each in settings.resolved]})


def _record(each: Resolved[Any]) -> dict[str, str | None]:
    return {
        "section": each.section,
        "key": each.option.key,
        "value": each.shown or None,
        "origin": each.origin,
    }
