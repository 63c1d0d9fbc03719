"""The options by which commands narrow down which snapshots count."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from icebrick.errors import UsageError
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.naming import image_path, volume_path
from icebrick.workflow.select import LATEST, Narrowing, Selection, parse_moment

_OPTIONS = (
    click.option(
        "--single-volume-id", "volume_ids", metavar="ID", multiple=True, help="Only of this volume; repeatable."
    ),
    click.option("--image-name", "image_names", metavar="NAME", multiple=True, help="Only of this image; repeatable."),
    click.option("--tag", "tags", metavar="TAG", multiple=True, help="With this tag; repeatable: with all of them."),
)


def narrowed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options; its function gets `narrowing`."""

    @functools.wraps(function)
    def with_narrowing(
        *, volume_ids: tuple[str, ...], image_names: tuple[str, ...], tags: tuple[str, ...], **others: Any
    ) -> Any:
        paths = (*map(volume_path, volume_ids), *map(image_path, image_names))
        return function(narrowing=Narrowing(paths, tags), **others)

    decorated: Callable[..., Any] = with_narrowing
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


@dataclass(frozen=True, slots=True)
class Filter:
    """The same, and of which hosts; of any when `hosts` is empty."""

    narrowing: Narrowing
    hosts: tuple[str, ...] = ()

    @property
    def takes_all(self) -> bool:
        """Whether the command line narrows nothing down."""
        return self == Filter(Narrowing())

    def takes(self, snapshot: Snapshot) -> bool:
        return self.narrowing.takes(snapshot) and (not self.hosts or snapshot.hostname in self.hosts)


def filtered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options and those of any snapshots, not only ours; its function gets `wanted`."""

    @functools.wraps(function)
    def with_filter(*, narrowing: Narrowing, hosts: tuple[str, ...], paths: tuple[str, ...], **others: Any) -> Any:
        return function(wanted=Filter(Narrowing((*narrowing.paths, *paths), narrowing.tags), hosts), **others)

    host = click.option("--host", "hosts", metavar="HOST", multiple=True, help="Only of this host; repeatable.")
    path = click.option("--path", "paths", metavar="PATH", multiple=True, help="Only of this path; repeatable.")
    return narrowed(host(path(with_filter)))


def selecting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the argument that names one snapshot; its function gets `selection` and `narrowing`."""

    @functools.wraps(function)
    def with_selection(*, snapshot: str, when: str | None, **others: Any) -> Any:
        if when is not None and snapshot != LATEST:
            raise UsageError(f"--restore-from-date chooses the latest before it, not snapshot {snapshot}")
        moment = None if when is None else parse_moment(when)
        return function(selection=Selection(snapshot, moment), **others)

    argument = click.argument("snapshot", metavar=f"{LATEST}|SNAPSHOT")
    date = click.option(
        "--restore-from-date", "when", metavar="WHEN", help=f"{LATEST} means the newest not after this date or time."
    )
    return argument(date(narrowed(with_selection)))
