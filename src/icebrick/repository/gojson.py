"""JSON byte for byte as Go's encoding/json writes it, and strings as Go's strconv.Quote does.

Equal trees must give equal bytes, or two programs would store the same directory twice. Text that was not UTF-8
(file names) is held in a str with surrogateescape, as Python's os module does.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence

from icebrick.errors import CorruptDataError
from icebrick.repository.ids import ID_SIZE
from icebrick.repository.timestamp import ZERO_TIME, Timestamp, parse_timestamp

JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]

_UNSIGNED_64 = 1 << 64
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_DIFFERENT = re.compile("\\\\.|[<>&\u2028\u2029\ud800-\udfff]")  # an escape is matched whole, to be passed over
_SURROGATE = re.compile("[\ud800-\udfff]")
_QUOTE_ESCAPES = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}
_UNQUOTE_ESCAPES = {letter: chr(code) for code, letter in _QUOTE_ESCAPES.items()}
_QUOTED = re.compile(
    r'([^"\\\n]+)|\\(?:([abfnrtv"\\])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))'
)


def _finite(text: str) -> float:
    """NaN and numbers too large are not JSON to Go, and could not be written again."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is no number")
    return number


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def encode(value: JsonValue) -> bytes:
    """Compact JSON; mappings keep their order. Bytes that were not UTF-8 become U+FFFD, as in Go."""
    return _DIFFERENT.sub(_go_escape, _ENCODER.encode(value)).encode()


def _go_escape(match: re.Match[str]) -> str:
    found = match[0]
    if found == "\\b":
        return "\\u0008"
    if found == "\\f":
        return "\\u000c"
    if len(found) > 1:
        return found
    return "\\ufffd" if _SURROGATE.match(found) else f"\\u{ord(found):04x}"


def encode_bytes(value: bytes) -> str:
    """A []byte field: base64 text."""
    return base64.b64encode(value).decode()


def is_unicode(text: str) -> bool:
    """Whether nothing in `text` stands for a byte that was not UTF-8."""
    return text.isascii() or _SURROGATE.search(text) is None


def quote(text: str) -> str:
    """strconv.Quote without the surrounding quotation marks.

    What is printable is decided by Python's Unicode tables; characters younger than the reader's come out escaped
    there and plain here, which `unquote` reads as the same.
    """
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(map(_quote_character, text))


def _quote_character(character: str) -> str:
    code = ord(character)
    if code in _QUOTE_ESCAPES:
        return "\\" + _QUOTE_ESCAPES[code]
    if character.isprintable():
        return character
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unquote(text: str) -> str:
    """Undo `quote`; ValueError when `text` was not quoted."""
    if "\\" not in text and '"' not in text and "\n" not in text:
        return text
    parts: list[bytes] = []
    position = 0
    while position < len(text):
        match = _QUOTED.match(text, position)
        if match is None:
            raise ValueError(f"not a quoted string: {text!r}")
        parts.append(_unquote_part(match))
        position = match.end()
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _unquote_part(match: re.Match[str]) -> bytes:
    plain, letter, hexadecimal, octal, short, long = match.groups()
    if plain is not None:
        return plain.encode()
    if letter is not None:
        return _UNQUOTE_ESCAPES[letter].encode()
    if hexadecimal is not None:
        return bytes([int(hexadecimal, 16)])
    if octal is not None:
        return bytes([int(octal, 8)])  # over 0o377: ValueError, as in Go
    return chr(int(short or long, 16)).encode()  # not a character: ValueError


def parse(data: bytes) -> object:
    """CorruptDataError when `data` is not JSON; bytes that are not UTF-8 become U+FFFD, as in Go."""
    try:
        return _DECODER.decode(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise CorruptDataError(f"not JSON: {error}") from error


def parse_object(data: bytes) -> JsonObject:
    """CorruptDataError when `data` is not a JSON object."""
    return JsonObject(parse(data))


class JsonObject:
    """A JSON object, read as Go reads it into a struct: absent and null give the zero value.

    Another type than asked for is a CorruptDataError that names the field.
    """

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise CorruptDataError(f"expected a JSON object, found {_kind(value)}")
        self.fields: dict[str, object] = value

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._unexpected(name, "text")
        return value if is_unicode(value) else _SURROGATE.sub("\ufffd", value)

    def unsigned(self, name: str) -> int:
        value = self.fields.get(name)
        if value is None:
            return 0
        if type(value) is not int or not 0 <= value < _UNSIGNED_64:
            raise self._unexpected(name, "a whole number of at most 64 bits")
        return value

    def flag(self, name: str) -> bool:
        value = self.fields.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self._unexpected(name, "true or false")
        return value

    def time(self, name: str) -> Timestamp:
        text = self.text(name)
        if not text:
            return ZERO_TIME
        try:
            return parse_timestamp(text)
        except ValueError as error:
            raise self._unexpected(name, "a time") from error

    def raw(self, name: str) -> bytes:
        """A []byte field."""
        try:
            return base64.b64decode(self.text(name), validate=True)
        except ValueError as error:
            raise self._unexpected(name, "base64") from error

    def id(self, name: str) -> bytes | None:
        text = self.text(name)
        return self._id(name, text) if text else None

    def ids(self, name: str) -> bytes:
        """The ids of a list, one behind the other."""
        return b"".join(self._id(name, value) for value in self.items(name))

    def items(self, name: str) -> list[object]:
        value = self.fields.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._unexpected(name, "a list")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(JsonObject({name: value}).text(name) for value in self.items(name))

    def objects(self, name: str) -> list[JsonObject]:
        return [JsonObject(value) for value in self.items(name)]

    def section(self, name: str) -> JsonObject | None:
        """The object in a field, None when absent or null."""
        value = self.fields.get(name)
        return None if value is None else JsonObject(value)

    def _id(self, name: str, value: object) -> bytes:
        try:
            found = binascii.unhexlify(value) if isinstance(value, str) else b""
        except ValueError as error:
            raise self._unexpected(name, "an id") from error
        if len(found) != ID_SIZE:
            raise self._unexpected(name, "an id")
        return found

    def _unexpected(self, name: str, expected: str) -> CorruptDataError:
        return CorruptDataError(f"expected {expected} in field {name!r}, found {_kind(self.fields.get(name))}")


def _kind(value: object) -> str:
    return repr(value)[:60] if isinstance(value, str | int | float) else type(value).__name__
