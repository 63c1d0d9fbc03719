"""Log lines on stderr, as text or, with --json, as JSON lines."""

from __future__ import annotations

import json
import logging
from contextlib import suppress

import click

from icebrick.cli.output import one_line

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class StderrHandler(logging.Handler):
    """Writes through click, to whatever stderr is at that moment: so lines go above progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # that nobody reads the log any more is no reason to end a backup
            click.echo(self.format(record), err=True)


class TextFormatter(logging.Formatter):
    """One line for an event, whatever a message holds; a traceback follows on lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return one_line(super().formatMessage(record))


class JsonFormatter(logging.Formatter):
    """{"message_type": "log", "time", "level", "logger", "message"}"""

    def format(self, record: logging.LogRecord) -> str:
        values = {
            "message_type": "log",
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(values)


def start_logging(verbosity: int, *, as_json: bool) -> None:
    """Ours at the level asked for; libraries, which log tokens and requests at will, never below WARNING."""
    handler = StderrHandler()
    handler.setFormatter(
        JsonFormatter() if as_json else TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    # Warns of every connection beyond ten at once, which are as many as there are volumes at work.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    logging.getLogger("icebrick").setLevel(_LEVELS[min(verbosity, len(_LEVELS) - 1)])
