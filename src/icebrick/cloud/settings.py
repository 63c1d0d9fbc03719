"""The requests that make a volume's own attributes those wanted; none when they are so already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from icebrick.cloud.api import Json
from icebrick.cloud.base import Volume, VolumeSettings
from icebrick.run import HOST_KEY, RUN_KEY

_TAGS = (RUN_KEY, HOST_KEY)


@dataclass(frozen=True, slots=True)
class Change:
    """One request: a PUT when it replaces, else a POST."""

    path: str
    body: Json
    replaces: bool = False


def changes_to(volume: Volume, settings: VolumeSettings) -> Iterator[Change]:
    """In the order in which they are to be sent: read-only last, as it may forbid what comes after."""
    path = f"/volumes/{volume.id}"
    if (volume.name, volume.description) != (settings.name, settings.description):
        named = {"name": settings.name, "description": settings.description}
        yield Change(path, {"volume": named}, replaces=True)
    metadata = with_tags_of(volume, settings.metadata)
    if dict(volume.metadata) != metadata:
        yield Change(f"{path}/metadata", {"metadata": {**metadata, **volume.notes}}, replaces=True)
    for action in _image_actions(volume.image_metadata, settings.image_metadata):
        yield Change(f"{path}/action", action)
    if volume.bootable != settings.bootable:
        yield Change(f"{path}/action", {"os-set_bootable": {"bootable": settings.bootable}})
    if volume.read_only != settings.read_only:
        yield Change(f"{path}/action", {"os-update_readonly_flag": {"readonly": settings.read_only}})


def with_tags_of(volume: Volume, metadata: Mapping[str, str]) -> dict[str, str]:
    """`metadata`, with the tags of the run that is making the volume and no other run's."""
    kept = {key: volume.metadata[key] for key in _TAGS if key in volume.metadata}
    return {key: value for key, value in metadata.items() if key not in _TAGS} | kept


def _image_actions(has: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[Json]:
    for key in sorted(has.keys() - wanted.keys()):
        yield {"os-unset_image_metadata": {"key": key}}
    changed = {key: value for key, value in wanted.items() if has.get(key) != value}
    if changed:
        yield {"os-set_image_metadata": {"metadata": changed}}
