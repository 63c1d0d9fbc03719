from __future__ import annotations

import pytest

from icebrick.errors import CorruptDataError
from icebrick.repository import gojson
from icebrick.repository.gojson import JsonObject


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<a> & b", rb'"\u003ca\u003e \u0026 b"'),
        ("\u2028\u2029", rb'"\u2028\u2029"'),
        ("\b\f\n\r\t\x1f\x7f", b'"\\u0008\\u000c\\n\\r\\t\\u001f\x7f"'),
        (r"\b", rb'"\\b"'),
        (r"\<", rb'"\\\u003c"'),
        ('"', rb'"\""'),
        ("ö😀", '"ö😀"'.encode()),
        ("a\udcffb", rb'"a\ufffdb"'),
        ("\ufffd", '"\ufffd"'.encode()),
        ({"b": 1, "a": [True, None]}, b'{"b":1,"a":[true,null]}'),
    ],
)
def test_json_is_what_go_writes(value: gojson.JsonValue, expected: bytes) -> None:
    assert gojson.encode(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain name", "plain name"),
        ('a"b\\c', r"a\"b\\c"),
        ("\a\b\f\n\r\t\v", r"\a\b\f\n\r\t\v"),
        ("\x00\x1f\x7f", r"\x00\x1f\x7f"),
        ("\udc80\udcff", r"\x80\xff"),
        ("ö'😀", "ö'😀"),
        ("\u200b\u2028\xa0\xad", r"\u200b\u2028\u00a0\u00ad"),
        ("\U000e0001", r"\U000e0001"),
        ("\ufffd", "\ufffd"),
    ],
)
def test_names_are_quoted_as_strconv_does(text: str, expected: str) -> None:
    assert gojson.quote(text) == expected
    assert gojson.unquote(expected) == text


def test_bytes_that_form_a_character_are_read_as_one() -> None:
    assert gojson.unquote(r"\xc3\xb6") == "ö"


def test_octal_escapes_are_read() -> None:
    assert gojson.unquote(r"\101\377") == "A\udcff"


@pytest.mark.parametrize("text", ['"', "\\", r"\q", r"\x1", r"\'", "a\nb\\", r"\ud800", r"\U00110000", r"\777"])
def test_what_strconv_refuses_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        gojson.unquote(text)


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"1" * 5000, b'{"a":}', b"NaN", b"-Infinity", b"1e999"])
def test_what_is_not_json_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptDataError, match="not JSON"):
        gojson.parse(data)


def test_bytes_that_are_not_utf8_are_read_as_go_does() -> None:
    assert gojson.parse_object(b'{"a":"\xff"}').text("a") == "\ufffd"


def test_half_a_surrogate_pair_does_not_become_a_raw_byte() -> None:
    assert gojson.parse_object(rb'{"a":"\udcff"}').text("a") == "\ufffd"


def test_absent_and_null_give_the_zero_value() -> None:
    fields = JsonObject({"nothing": None})
    for name in ("nothing", "absent"):
        assert fields.text(name) == ""
        assert fields.unsigned(name) == 0
        assert fields.flag(name) is False
        assert fields.id(name) is None
        assert fields.ids(name) == b""
        assert fields.texts(name) == ()
        assert fields.section(name) is None


@pytest.mark.parametrize(
    "read", ["text", "unsigned", "flag", "time", "raw", "id", "ids", "items", "texts", "section", "objects"]
)
def test_another_type_is_corrupt_and_names_what_was_found(read: str) -> None:
    with pytest.raises(CorruptDataError, match=r"expected .* found 2\.5"):
        getattr(JsonObject({"field": [2.5] if read in {"texts", "objects"} else 2.5}), read)("field")


@pytest.mark.parametrize("value", [-1, 1 << 64, True, 1.0, "1"])
def test_a_number_that_go_s_uint64_cannot_hold_is_corrupt(value: object) -> None:
    with pytest.raises(CorruptDataError, match="whole number"):
        JsonObject({"size": value}).unsigned("size")


@pytest.mark.parametrize("value", ["", "ab", "0" * 63, "g" * 64, "ö" * 64, 7])
def test_an_id_that_is_none_is_corrupt(value: object) -> None:
    with pytest.raises(CorruptDataError, match="an id"):
        JsonObject({"content": [value]}).ids("content")
