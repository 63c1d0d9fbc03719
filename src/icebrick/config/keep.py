"""The options that say which snapshots of a repository are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from icebrick.config.option import FLAG, Kind, Option, Reader
from icebrick.repository.retention import UNLIMITED, Period, Span, parse_span

FORGET = "forget"
_UNLIMITED = "unlimited"


def _read_count(text: str) -> int:
    number = UNLIMITED if text == _UNLIMITED else int(text)
    if number < UNLIMITED:
        raise ValueError(text)
    return number


@dataclass(frozen=True, slots=True)
class TagLists:
    """As `Policy.tags`; written with ';' between lists and ',' between tags."""

    lists: tuple[tuple[str, ...], ...] = ()

    def __str__(self) -> str:
        return "; ".join(map(",".join, self.lists))


def _read_tags(text: str) -> TagLists:
    lists = (tuple(tag.strip() for tag in part.split(",") if tag.strip()) for part in text.split(";"))
    return TagLists(tuple(tags for tags in lists if tags))


_COUNT: Reader[int | None] = Reader(_read_count, f"a whole number or {_UNLIMITED}", "N", Kind.NUMBER)
_SPAN: Reader[Span | None] = Reader(parse_span, "a span such as 1y5m7d2h", "SPAN")
_TAGS: Reader[TagLists] = Reader(_read_tags, "tags", "TAG[,TAG...]")
_LETTERS = {
    Period.LAST: "l",
    Period.HOURLY: "H",
    Period.DAILY: "d",
    Period.WEEKLY: "w",
    Period.MONTHLY: "m",
    Period.YEARLY: "y",
}
_UNITS = {
    Period.HOURLY: "hour",
    Period.DAILY: "day",
    Period.WEEKLY: "week",
    Period.MONTHLY: "month",
    Period.YEARLY: "year",
}


def _count(period: Period) -> Option[int | None]:
    which = f"one of each {_UNITS[period]}, for the last N that have one" if period in _UNITS else "the last N"
    flags = (f"-{_LETTERS[period]}", f"--keep-{period.value}")
    return _option(f"keep-{period.value}", _COUNT, None, f"Keep {which}; or '{_UNLIMITED}'.", flags)


def _within(period: Period) -> Option[Span | None]:
    key = f"keep-within-{period.value}"
    text = f"Keep one of each {_UNITS[period]}, for this long before the newest."
    return _option(key, _SPAN, None, text, (f"--{key}",))


def _option(key: str, reader: Reader[Any], default: Any, text: str, flags: tuple[str, ...]) -> Option[Any]:
    return Option("repository", key, reader, default, text, flags=flags, actions=(FORGET,))


KEEP: dict[Period, Option[int | None]] = {period: _count(period) for period in Period}
KEEP_WITHIN: Option[Span | None] = _option(
    "keep-within",
    _SPAN,
    None,
    "Keep all that are newer than this long before the newest, such as 1y5m7d2h: years, months, days, hours.",
    ("--keep-within",),
)
KEEP_WITHIN_EACH: dict[Period, Option[Span | None]] = {period: _within(period) for period in _UNITS}
KEEP_TAG: Option[TagLists] = _option(
    "keep-tag", _TAGS, TagLists(), "Keep all that have these tags; ';' stands between several of which one will do.", ()
)
KEEP_OLDEST: Option[bool] = _option(
    "keep-oldest",
    FLAG,
    False,
    "Keep the oldest too while a rule that counts has some left, as restic does from 0.16 on.",
    ("--keep-oldest", "--no-keep-oldest"),
)
KEEP_OPTIONS: tuple[Option[Any], ...] = (
    *KEEP.values(),
    KEEP_WITHIN,
    *KEEP_WITHIN_EACH.values(),
    KEEP_TAG,
    KEEP_OLDEST,
)
