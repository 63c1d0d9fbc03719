"""JSON documents of ours, read from a repository that others may write to: every value is checked when it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

from icebrick.errors import CorruptDataError, RepositoryError

MAX_BYTES = 16 << 20
"""Far above what any document of ours says; bounds the memory a hostile one can take."""

_MAX_ENTRIES = 10_000
_MAX_VERSION = 1 << 31


def open_document(data: bytes, where: str, *, expected: str, version: int) -> Fields:
    """The fields of a document whose `format` is `expected`; `where` names it in errors.

    CorruptDataError when it is not one; RepositoryError for a version that came after `version`.
    """
    document = Fields(_parse(data, where), where)
    if document.text("format") != expected:
        document.fail("format", f"'{expected}'")
    found = document.number("version", 1, _MAX_VERSION)
    if found > version:
        raise RepositoryError(
            f"{where} has version {found}, this icebrick reads up to {version}",
            hint="Use a newer icebrick, or restore the data alone with --target.",
        )
    return document


def _parse(data: bytes, where: str) -> Mapping[str, Any]:
    if len(data) > MAX_BYTES:
        raise CorruptDataError(f"{where} has {len(data)} bytes, more than any record")
    try:
        # A lone surrogate is legal in JSON but in no UTF-8 text: encoding again finds it wherever it is.
        document = json.loads(data.decode(), parse_constant=_refuse_constant)
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise CorruptDataError(f"{where} is not the JSON of a record: {error}") from error
    if not isinstance(document, dict):
        raise CorruptDataError(f"{where} is not a JSON object")
    return document


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


class Fields:
    """The values of one JSON object, each demanded with its type."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values
        self._where = where

    def fail(self, key: str, expected: str) -> NoReturn:
        raise CorruptDataError(f"{self._where}: {key}: expected {expected}")

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str):
            self.fail(key, "a string")
        return value

    def optional_text(self, key: str) -> str | None:
        return None if self.values.get(key) is None else self.text(key)

    def flag(self, key: str) -> bool:
        value = self.values.get(key)
        if not isinstance(value, bool):
            self.fail(key, "true or false")
        return value

    def optional_flag(self, key: str) -> bool | None:
        return None if self.values.get(key) is None else self.flag(key)

    def number(self, key: str, lowest: int, highest: int) -> int:
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            self.fail(key, f"a whole number from {lowest} to {highest}")
        return value

    def time(self, key: str) -> datetime:
        try:
            return datetime.fromisoformat(self.text(key))
        except ValueError:
            self.fail(key, "an ISO 8601 time")

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.values.get(key)
        if not isinstance(value, dict):
            self.fail(key, "an object")
        return value

    def object(self, key: str) -> Fields:
        return Fields(self.mapping(key), f"{self._where}: {key}")

    def texts(self, key: str) -> dict[str, str]:
        value = self.mapping(key)
        if len(value) > _MAX_ENTRIES or not all(isinstance(text, str) for text in value.values()):
            self.fail(key, f"an object of at most {_MAX_ENTRIES} strings")
        return dict(value)

    def list_of_texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key)
        if not isinstance(value, list) or len(value) > _MAX_ENTRIES or not all(isinstance(text, str) for text in value):
            self.fail(key, f"a list of at most {_MAX_ENTRIES} strings")
        return tuple(value)
