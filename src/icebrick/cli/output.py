"""Where a command's words go: results to stdout, the rest to stderr, everything as JSON lines with --json."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from icebrick.blockdev import Data
from icebrick.errors import IcebrickError

_SIZE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class Output:
    """One command's output. Text is made safe for terminals: names in a repository may come from anyone."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def result(self, text: str, record: Mapping[str, Any] | Sequence[Any]) -> None:
        """What was asked for: the text, or the record with --json."""
        click.echo(json.dumps(record, ensure_ascii=True) if self.as_json else printable(text))

    def line(self, text: str) -> None:
        """One of maybe very many lines of a result, or of JSON; a pipe gets them by the block."""
        sys.stdout.write((text if self.as_json else one_line(text)) + "\n")

    def record(self, message_type: str, values: Mapping[str, Any]) -> None:
        """A JSON line of its own kind; nothing without --json."""
        if self.as_json:
            click.echo(json.dumps({"message_type": message_type, **values}, ensure_ascii=True))

    def say(self, text: str) -> None:
        """What the user may like to know meanwhile; nothing with --quiet or --json."""
        if not self.quiet and not self.as_json:
            click.echo(printable(text), err=True)

    def warn(self, text: str) -> None:
        """What the user must know although the command goes on."""
        if self.as_json:
            click.echo(json.dumps({"message_type": "warning", "message": text}), err=True)
        else:
            click.echo(f"icebrick: warning: {one_line(text)}", err=True)

    def warn_of_leftovers(self, leftovers: Sequence[str]) -> None:
        """Which they are, the log has told when it happened."""
        if leftovers:
            left = counted(len(leftovers), "resource")
            self.warn(f"{left} left behind in the cloud; 'icebrick cleanup' removes that")


def write_stdout(data: Data) -> None:
    """Data, not text; IcebrickError when nobody reads it any more, for then it is not complete."""
    try:
        sys.stdout.buffer.write(data)
    except BrokenPipeError as error:
        drop_stdout()
        raise IcebrickError("standard output was closed before all data was written") from error


def drop_stdout() -> None:
    """What is still buffered goes nowhere; or the interpreter would try to write it at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable(text: str) -> str:
    """The text with control and other unprintable characters escaped, except newlines."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    """As `\\x1b` or `\\u202e`; the same of a byte that was not UTF-8."""
    code = ord(char)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else char.encode("unicode_escape").decode()


def one_line(text: str) -> str:
    """The same, newlines escaped too: nothing in it can look like a line of ours."""
    return printable(text).replace("\n", "\\n")


def counted(count: int, what: str) -> str:
    """As `1 problem` or `2 problems`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def size_text(count: int) -> str:
    """Bytes for people: 1536 is 1.5 KiB."""
    value = float(count)
    for unit in _SIZE_UNITS:
        if value < 1024 or unit == _SIZE_UNITS[-1]:
            break
        value /= 1024
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be; the last one is not padded."""
    lines = [[one_line(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
