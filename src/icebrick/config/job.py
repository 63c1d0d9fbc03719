"""Reading a job: a JSON object with an action and its options. What cannot be meant is an error that says where."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from icebrick.config.file import read_text
from icebrick.config.option import Kind, Option
from icebrick.config.options import BACKUP, OPTIONS, RESTORE
from icebrick.errors import UsageError

ACTION_KEY = "action"
ACTIONS = (BACKUP, RESTORE)
STANDARD_INPUT = "-"

_SECRET_WORDS = ("password", "secret", "token")


@dataclass(frozen=True, slots=True)
class Job:
    """The checked text of a job. `name` says which: its path, or `standard input`."""

    name: str
    action: str
    values: Mapping[Option[Any], str]

    def where(self, option: Option[Any]) -> str:
        """To begin a message with."""
        return f"job {self.name}: {spelt(option)}"


def spelt(option: Option[Any]) -> str:
    """The key as in JSON, where hyphens are rare."""
    return option.key.replace("-", "_")


def job_options(action: str) -> tuple[Option[Any], ...]:
    """Those that a job of this action can say."""
    return tuple(option for option in OPTIONS if action in option.actions)


def load_job(path: Path) -> Job:
    """Read and check all of it. UsageError names the file, the key and what was expected."""
    try:
        return parse_job(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"cannot read job {path}: {error.strerror}") from error


def parse_job(data: bytes, name: str) -> Job:
    """As `load_job`, of text from wherever."""
    where = f"job {name}"
    pairs = _pairs(data, where)
    action = _action(pairs, where)
    known = {spelt(option): option for option in job_options(action)}
    values: dict[Option[Any], str] = {}
    for spelling, value in pairs:
        key = spelling.replace("-", "_")
        if key == ACTION_KEY:
            continue
        if key not in known:
            _refuse(where, spelling, action, known)
        if known[key] in values:
            raise UsageError(f"{where}: {spelling}: stands twice")
        text = _text(known[key], value, f"{where}: {spelling}")
        read_text(known[key], text, f"{where}: {spelling}")
        values[known[key]] = text
    return Job(name, action, values)


def _pairs(data: bytes, where: str) -> list[tuple[str, Any]]:
    """The object's keys and values, repeated ones too: JSON lets the last count, which hides mistakes."""
    try:
        document = json.loads(data, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is not JSON: {error}") from error
    if not data.lstrip().startswith(b"{"):
        raise UsageError(f"{where} is not a JSON object")
    assert isinstance(document, list)
    return document


def _action(pairs: Iterable[tuple[str, Any]], where: str) -> str:
    expected = f"expected {' or '.join(ACTIONS)}"
    said = [value for key, value in pairs if key == ACTION_KEY]
    if len(said) != 1:
        raise UsageError(f"{where}: {ACTION_KEY}: {'stands twice' if said else f'is missing, {expected}'}")
    if said[0] not in ACTIONS:
        raise UsageError(f"{where}: {ACTION_KEY}: {json.dumps(said[0])}, {expected}")
    return str(said[0])


def _refuse(where: str, spelling: str, action: str, known: Mapping[str, Option[Any]]) -> NoReturn:
    key = spelling.replace("-", "_")
    if any(word in key.lower() for word in _SECRET_WORDS):
        raise UsageError(
            f"{where}: {spelling}: secrets do not belong in a job",
            hint="Name a [repository:NAME] of the configuration as 'repository'; that has a password-file.",
        )
    others = [other for other in ACTIONS if key in map(spelt, job_options(other))]
    if others:
        raise UsageError(f"{where}: {spelling}: is for {others[0]}, and this is a {action}")
    close = difflib.get_close_matches(key, known, 1)
    hint = f"Did you mean '{close[0]}'?" if close else None
    raise UsageError(f"{where}: {spelling}: unknown key, expected one of {', '.join(known)}", hint=hint)


def _text(option: Option[Any], value: Any, where: str) -> str:
    """The value as it would be written in the file."""
    kind = option.reader.kind
    if kind is Kind.FLAG and isinstance(value, bool):
        return "yes" if value else "no"
    if kind is Kind.NUMBER and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if kind in (Kind.TEXT, Kind.LIST) and isinstance(value, str):
        return value
    if kind is Kind.LIST and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    what = "" if kind in (Kind.FLAG, Kind.NUMBER) else f": {option.reader.expected}"
    raise UsageError(f"{where}: wrong type, expected {kind.value}{what}")
