"""Which snapshot is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time

from icebrick.errors import SnapshotMissingError, UsageError
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.naming import BackupMode, image_path, mode_of, volume_path

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Selection:
    """`latest`, or a snapshot's id or the beginning of one; of the latest, those after `not_after` do not count."""

    wanted: str = LATEST
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Those snapshots count that have one of the paths, if any are named, and all of the tags."""

    paths: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def takes(self, snapshot: Snapshot) -> bool:
        is_of_one = not self.paths or not set(self.paths).isdisjoint(snapshot.paths)
        return is_of_one and set(self.tags) <= set(snapshot.tags)


def with_path(snapshots: Iterable[Snapshot], path: str, *, hostname: str | None = None) -> list[Snapshot]:
    """Those of exactly this path (and host), oldest first."""
    wanted = [
        snapshot
        for snapshot in snapshots
        if snapshot.paths == (path,) and (hostname is None or snapshot.hostname == hostname)
    ]
    return sorted(wanted, key=lambda snapshot: snapshot.time)


def newest_by_mode(snapshots: Iterable[Snapshot]) -> Mapping[BackupMode, Snapshot]:
    """Of those given, oldest first."""
    return {mode_of(snapshot): snapshot for snapshot in snapshots}


def choose_volume(snapshots: Iterable[Snapshot], volume_id: str, selection: Selection) -> Snapshot:
    """Of a volume; SnapshotMissingError when there is none like that."""
    return _choose(with_path(snapshots, volume_path(volume_id)), selection, f"volume {volume_id}")


def choose_image(snapshots: Iterable[Snapshot], name: str, host: str | None, selection: Selection) -> Snapshot:
    """Of an image, of whatever host when that is None; SnapshotMissingError when there is none like that."""
    return _choose(with_path(snapshots, image_path(name), hostname=host), selection, f"image {name}")


def choose_any(snapshots: Iterable[Snapshot], selection: Selection, narrowing: Narrowing | None = None) -> Snapshot:
    """Of all that count; SnapshotMissingError when there is none like that."""
    narrowing = narrowing or Narrowing()
    counted = sorted(filter(narrowing.takes, snapshots), key=lambda snapshot: snapshot.time)
    return _choose(counted, selection, " or ".join(narrowing.paths) or "anything")


def parse_moment(text: str) -> datetime:
    """An ISO date or time; local when it has no offset. A date alone means the end of that day."""
    try:
        return _moment(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{text!r} is not a date or time",
            hint="Write it as 2026-11-23, 2026-11-23T06:15 or 2026-11-23T06:15:00+01:00.",
        ) from error


def _moment(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), time.max)
    except ValueError:
        return datetime.fromisoformat(text)


def _choose(snapshots: list[Snapshot], selection: Selection, what: str) -> Snapshot:
    """Among `snapshots`, oldest first."""
    if not snapshots:
        raise SnapshotMissingError(f"no snapshot of {what}")
    if selection.wanted != LATEST:
        return _by_id(snapshots, selection.wanted, what)
    if selection.not_after is None:
        return snapshots[-1]
    early = [snapshot for snapshot in snapshots if snapshot.time.to_datetime() <= selection.not_after]
    if not early:
        first = snapshots[0].time.to_datetime().astimezone()
        raise SnapshotMissingError(
            f"no snapshot of {what} from {selection.not_after.isoformat()} or before; "
            f"the first is from {first.isoformat()}"
        )
    return early[-1]


def _by_id(snapshots: list[Snapshot], prefix: str, what: str) -> Snapshot:
    found = [snapshot for snapshot in snapshots if (snapshot.id or "").startswith(prefix)]
    if len(found) == 1:
        return found[0]
    problem = "no snapshot" if not found else f"{len(found)} snapshots"
    raise SnapshotMissingError(f"{problem} of {what} with an id that starts with {prefix!r}")
