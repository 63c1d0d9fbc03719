"""Points in time as restic writes them: RFC 3339 with nanoseconds and the writer's offset from UTC."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

NANOSECONDS = 1_000_000_000
_TEXT = re.compile(
    r"(\d{4})(-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))",
    re.ASCII,
)
_CYCLE_YEARS, _CYCLE_SECONDS = 400, 146_097 * 86_400  # the calendar repeats itself
_EARLIEST = -62_167_219_200 * NANOSECONDS  # 0000-01-01T00:00:00Z
_LATEST = 253_402_300_800 * NANOSECONDS - 1  # 9999-12-31T23:59:59.999999999Z
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# a day inside what datetime knows, so that every offset fits
_FIRST_MICROSECOND = (datetime(1, 1, 2, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST_MICROSECOND = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """An instant: nanoseconds since the epoch; `offset` (minutes east of UTC) only says how it is written."""

    ns: int
    offset: int = 0

    def __str__(self) -> str:
        """As Go's RFC3339Nano. What four digits of a year cannot say becomes the nearest time they can."""
        shift = self.offset * 60 * NANOSECONDS
        seconds, fraction = divmod(min(max(self.ns + shift, _EARLIEST), _LATEST), NANOSECONDS)
        year, month, day, hour, minute, second = time.gmtime(seconds)[:6]
        text = f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"
        if fraction:
            text += f".{fraction:09d}".rstrip("0")
        if not self.offset:
            return text + "Z"
        hours, minutes = divmod(abs(self.offset), 60)
        return f"{text}{'-' if self.offset < 0 else '+'}{hours:02d}:{minutes:02d}"

    def to_datetime(self) -> datetime:
        """To the microsecond, in the writer's offset; outside the years 1 to 9999 the nearest time in them."""
        zone = timezone(timedelta(minutes=self.offset))
        microseconds = min(max(self.ns // 1000, _FIRST_MICROSECOND), _LAST_MICROSECOND)
        return (_EPOCH + timedelta(microseconds=microseconds)).astimezone(zone)


ZERO_TIME = Timestamp(-62_135_596_800 * NANOSECONDS)
"""Go's zero time, 0001-01-01T00:00:00Z: what restic writes for a time it does not know."""


def parse_timestamp(text: str) -> Timestamp:
    """ValueError when `text` is not RFC 3339. Digits beyond nanoseconds are cut off."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time: {text[:40]!r}")
    year, moment = match[1], match[2]
    seconds = 0
    if year == "0000":  # datetime has no such year; every fourth century is alike
        year, seconds = f"{_CYCLE_YEARS:04d}", -_CYCLE_SECONDS
    since = datetime.fromisoformat(f"{year}{moment}+00:00") - _EPOCH
    seconds += since.days * 86_400 + since.seconds
    fraction = int((match[3] or "0")[:9].ljust(9, "0"))
    offset = 0
    if match[4]:
        offset = (int(match[5]) * 60 + int(match[6])) * (-1 if match[4] == "-" else 1)
        if abs(offset) >= 24 * 60:
            raise ValueError(f"offset of a day or more: {text!r}")
    return Timestamp((seconds - offset * 60) * NANOSECONDS + fraction, offset)


def from_datetime(moment: datetime) -> Timestamp:
    """ValueError when `moment` has no time zone."""
    shift = moment.utcoffset()
    if shift is None:
        raise ValueError(f"time without a zone: {moment}")
    microseconds = (moment - _EPOCH) // timedelta(microseconds=1)
    return Timestamp(microseconds * 1000, int(shift.total_seconds() // 60))


def now() -> Timestamp:
    """The present, in UTC."""
    return Timestamp(time.time_ns())
