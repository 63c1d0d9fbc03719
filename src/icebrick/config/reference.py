"""The configuration's reference page, made from the declarations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from icebrick.config.file import FILE_VARIABLE, SYSTEM_FILE
from icebrick.config.job import spelt
from icebrick.config.option import Kind, Option
from icebrick.config.options import NAMED_SECTIONS, OPTIONS, SECTIONS

_HEAD = f"""\
# Configuration

<!-- Made by `make docs` from icebrick/config/options.py. Change it there. -->

An INI file: `--config FILE`, else `${FILE_VARIABLE}`, else `~/.config/icebrick/icebrick.conf`, else `{SYSTEM_FILE}`.
The command line counts more than the environment, that more than a job, and that more than the file.
`icebrick config show` prints what counts and where it came from. Keys may be spelt with `-` or `_`.
Unknown sections, unknown keys and bad values are errors.

```ini
[repository:main]
location = /srv/backup/volumes
password-file = /etc/icebrick/main.password

[cloud:prod]
cloud = prod-backup

[cinder-osbrick]
repository = main
cloud = prod
```
"""


def configuration_page() -> str:
    """Markdown."""
    return "\n".join([_HEAD, *(line for kind in SECTIONS for line in _section(kind))])


def _section(kind: str) -> Iterator[str]:
    yield f"## [{kind}:NAME]" if kind in NAMED_SECTIONS else f"## [{kind}]"
    yield ""
    yield SECTIONS[kind]
    yield ""
    for option in OPTIONS:
        if option.section == kind:
            yield from _option(option)


def _option(option: Option[Any]) -> Iterator[str]:
    yield f"### {option.key}"
    yield ""
    yield option.help
    yield ""
    yield f"- value: {option.reader.expected}"
    if option.default_text:
        yield f"- default: `{option.default_text}`"
    if option.flags:
        metavar = "" if option.reader.kind is Kind.FLAG else f" {option.reader.metavar}"
        yield f"- command line: `{', '.join(option.flags)}{metavar}`"
    if option.environment:
        yield f"- environment: `{option.environment}`"
    if option.actions:
        yield f"- in a job: `{spelt(option)}`, {option.reader.kind.value}; for {' and '.join(option.actions)}"
    if option.secret:
        yield "- only in the environment: a secret does not belong in the file or on the command line"
    yield ""
