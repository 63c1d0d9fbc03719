"""Which snapshots a policy keeps: restic's rules, judged on one group of snapshots at a time.

Rules that count go from the newest snapshot to the oldest and keep the first of each hour, day, week, month or year,
as the writer's clock said it, until they have kept as many as they may. Rules of time do the same, without a count,
for what is newer than a span before the newest. A snapshot that any rule keeps is kept.

A snapshot whose time lies in the future is kept and counts for nothing: a clock that once was wrong, or a date that
somebody made up, would otherwise push good backups out.
Source: restic's `forget`, whose answers these are (tests/interop/test_forget.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import ZERO_TIME, Timestamp, from_datetime

UNLIMITED = -1
"""The count of a rule that keeps one of each period, however many there are."""
TOLERANCE = timedelta(minutes=5)
"""Clocks of hosts differ: so far ahead is not yet the future."""
IN_THE_FUTURE = "its time lies in the future"

_SPAN = re.compile("(?:[0-9]+[ymdh])+", re.ASCII)
_PART = re.compile("([0-9]+)([ymdh])", re.ASCII)


class Period(Enum):
    """What a rule keeps one of; called as in restic's options and reasons."""

    LAST = "last"
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"

    def key(self, moment: datetime, number: int) -> tuple[int, ...]:
        """Equal for moments in one period; `number` is the snapshot's place in its group."""
        match self:
            case Period.LAST:
                return (number,)
            case Period.HOURLY:
                return (moment.year, moment.month, moment.day, moment.hour)
            case Period.DAILY:
                return (moment.year, moment.month, moment.day)
            case Period.WEEKLY:
                return tuple(moment.isocalendar())[:2]
            case Period.MONTHLY:
                return (moment.year, moment.month)
            case Period.YEARLY:
                return (moment.year,)


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time as calendars have it: a month before 31 March is 3 March, as in Go."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    def __str__(self) -> str:
        parts = zip((self.years, self.months, self.days, self.hours), "ymdh", strict=True)
        return "".join(f"{number}{unit}" for number, unit in parts if number)

    def before(self, moment: Timestamp) -> Timestamp:
        """The moment this long before, on the clock of its writer; the earliest there is when it would be earlier."""
        start = moment.to_datetime()
        year, month = divmod(start.year * 12 + start.month - 1 - self.years * 12 - self.months, 12)
        try:
            first = start.replace(year=year, month=month + 1, day=1)
            reached = first + timedelta(days=start.day - 1 - self.days, hours=-self.hours)
        except (ValueError, OverflowError):
            return ZERO_TIME
        return Timestamp(from_datetime(reached).ns + moment.ns % 1000, moment.offset)


def parse_span(text: str) -> Span:
    """Of text such as 1y5m7d2h; ValueError."""
    if not _SPAN.fullmatch(text):
        raise ValueError(text)
    numbers = {unit: int(number) for number, unit in _PART.findall(text)}
    return Span(*(numbers.get(unit, 0) for unit in "ymdh"))


@dataclass(frozen=True, slots=True)
class Policy:
    """What is to be kept. `tags`: snapshots that have all tags of one of these lists.

    With `oldest`, the oldest one is kept too by each rule that has not kept its count yet, or that reaches back to it.
    """

    counts: Mapping[Period, int] = field(default_factory=dict)
    within: Span | None = None
    within_each: Mapping[Period, Span] = field(default_factory=dict)
    tags: tuple[tuple[str, ...], ...] = ()
    oldest: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it would keep nothing at all."""
        spans = (self.within or Span(), *self.within_each.values())
        return not any(self.counts.values()) and not any(map(_lasts, spans)) and not self.tags


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one snapshot: why it is kept; it is not when there are no reasons.

    `counters` has what the rules that count may still keep after it.
    """

    snapshot: Snapshot
    reasons: tuple[str, ...]
    counters: Mapping[Period, int] = field(default_factory=dict)

    @property
    def is_kept(self) -> bool:
        return bool(self.reasons)


def apply_policy(snapshots: Iterable[Snapshot], policy: Policy, now: Timestamp) -> list[Verdict]:
    """Newest first; of equal times, the lower id first. All of them are kept by an empty policy."""
    ordered = sorted(sorted(snapshots, key=lambda snapshot: snapshot.id or ""), key=_time, reverse=True)
    if policy.is_empty:
        return [Verdict(snapshot, ("policy is empty",)) for snapshot in ordered]
    future = [snapshot for snapshot in ordered if lies_in_future(snapshot, now)]
    counted = ordered[len(future) :]
    verdicts = [Verdict(snapshot, (IN_THE_FUTURE,)) for snapshot in future]
    return verdicts + (list(_judged(counted, policy)) if counted else [])


def lies_in_future(snapshot: Snapshot, now: Timestamp) -> bool:
    """By more than clocks differ."""
    return snapshot.time.ns > now.ns + TOLERANCE // timedelta(microseconds=1) * 1000


def _judged(snapshots: list[Snapshot], policy: Policy) -> Iterator[Verdict]:
    newest = snapshots[0].time
    oldest = len(snapshots) - 1 if policy.oldest else None
    counters = {period: policy.counts.get(period, 0) for period in Period}
    rules = [
        *map(_tags_rule, policy.tags),
        *([_within_rule(policy.within, newest)] if policy.within and _lasts(policy.within) else []),
        *(_counting_rule(_Buckets(period, oldest), counters) for period in Period),
        *(
            _within_each_rule(_Buckets(period, oldest), span, newest)
            for period in Period
            if _lasts(span := policy.within_each.get(period, Span()))
        ),
    ]
    for number, snapshot in enumerate(snapshots):
        found = [rule(snapshot, number) for rule in rules]
        reasons = tuple(reason for reason in found if reason is not None)
        yield Verdict(snapshot, reasons, {period: count for period, count in counters.items() if count})


_Rule = Callable[[Snapshot, int], str | None]
"""Why it keeps a snapshot, or None. To be asked of each in turn, with its place."""


class _Buckets:
    """Takes the first snapshot of each period, and that at the place `oldest`."""

    def __init__(self, period: Period, oldest: int | None) -> None:
        self.period = period
        self._oldest = oldest
        self._last: tuple[int, ...] = ()

    def take(self, snapshot: Snapshot, number: int) -> str | None:
        """How a reason begins that names it; None when it is not taken."""
        key = self.period.key(snapshot.time.to_datetime(), number)
        is_first, self._last = key != self._last, key
        if is_first:
            return self.period.value
        return f"oldest {self.period.value}" if number == self._oldest else None


def _tags_rule(tags: tuple[str, ...]) -> _Rule:
    def rule(snapshot: Snapshot, _number: int) -> str | None:
        return f"has tags [{', '.join(tags)}]" if set(tags) <= set(snapshot.tags) else None

    return rule


def _within_rule(span: Span, newest: Timestamp) -> _Rule:
    start = span.before(newest)

    def rule(snapshot: Snapshot, _number: int) -> str | None:
        return f"within {span}" if snapshot.time.ns > start.ns else None

    return rule


def _counting_rule(buckets: _Buckets, counters: dict[Period, int]) -> _Rule:
    """Takes from its counter what it keeps."""
    period = buckets.period

    def rule(snapshot: Snapshot, number: int) -> str | None:
        if counters[period] == 0 or (taken := buckets.take(snapshot, number)) is None:
            return None
        if counters[period] != UNLIMITED:
            counters[period] -= 1
        return f"{taken} snapshot"

    return rule


def _within_each_rule(buckets: _Buckets, span: Span, newest: Timestamp) -> _Rule:
    start = span.before(newest)

    def rule(snapshot: Snapshot, number: int) -> str | None:
        if snapshot.time.ns <= start.ns or (taken := buckets.take(snapshot, number)) is None:
            return None
        return f"{taken} within {span}"

    return rule


def _lasts(span: Span) -> bool:
    return span != Span()


def _time(snapshot: Snapshot) -> int:
    return snapshot.time.ns
