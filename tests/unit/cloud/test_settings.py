"""Which requests make a volume as wanted: enough, and none too many."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from icebrick.cloud.base import Volume, VolumeSettings
from icebrick.cloud.settings import Change, changes_to
from icebrick.run import HOST_KEY, RUN_KEY, Run

TAGS = Run("run-1", "host1").tags
PLAIN = Volume("1f2e", "disk", "available", 1)
SAME = VolumeSettings("disk", "", {}, {}, bootable=False, read_only=False)

names = st.text("abc", max_size=3)
pairs = st.dictionaries(st.sampled_from(["a", "b", "c", RUN_KEY]), names, max_size=4)
all_settings = st.builds(VolumeSettings, names, names, pairs, pairs, bootable=st.booleans(), read_only=st.booleans())
volumes = st.builds(
    Volume,
    id=st.just("1f2e"),
    name=names,
    status=st.just("available"),
    size=st.just(1),
    description=names,
    bootable=st.booleans(),
    read_only=st.booleans(),
    metadata=st.one_of(pairs, pairs.map(lambda metadata: metadata | TAGS)),
    image_metadata=pairs,
)


def cinder(volume: Volume, change: Change) -> Volume:
    """What Cinder makes of a request."""
    ((action, given_body),) = change.body.items()
    body: Any = given_body
    if change.path.endswith("/metadata"):
        return replace(volume, metadata=body)
    if action == "volume":
        return replace(volume, **body)
    image = dict(volume.image_metadata)
    if action == "os-set_image_metadata":
        return replace(volume, image_metadata=image | body["metadata"])
    if action == "os-unset_image_metadata":
        del image[body["key"]]
        return replace(volume, image_metadata=image)
    if action == "os-set_bootable":
        return replace(volume, bootable=body["bootable"])
    assert action == "os-update_readonly_flag"
    return replace(volume, read_only=body["readonly"])


def applied(volume: Volume, settings: VolumeSettings) -> Volume:
    for change in list(changes_to(volume, settings)):
        volume = cinder(volume, change)
    return volume


@given(volumes, all_settings)
def test_afterwards_the_volume_is_as_wanted(volume: Volume, settings: VolumeSettings) -> None:
    after = applied(volume, settings)
    assert (after.name, after.description) == (settings.name, settings.description)
    assert (after.bootable, after.read_only) == (settings.bootable, settings.read_only)
    assert after.image_metadata == settings.image_metadata
    own = {key: value for key, value in after.metadata.items() if key not in (RUN_KEY, HOST_KEY)}
    assert own == {key: value for key, value in settings.metadata.items() if key != RUN_KEY}


@given(volumes, all_settings)
def test_tags_are_the_volumes_own_and_no_others(volume: Volume, settings: VolumeSettings) -> None:
    after = applied(volume, settings)
    for key in (RUN_KEY, HOST_KEY):
        assert after.metadata.get(key) == volume.metadata.get(key)


@given(volumes, all_settings)
def test_what_is_as_wanted_needs_no_request(volume: Volume, settings: VolumeSettings) -> None:
    assert list(changes_to(applied(volume, settings), settings)) == []


def test_each_attribute_is_changed_alone() -> None:
    assert [change.body for change in changes_to(PLAIN, replace(SAME, bootable=True))] == [
        {"os-set_bootable": {"bootable": True}}
    ]


def test_the_read_only_flag_comes_last() -> None:
    wanted = VolumeSettings("other", "", {"k": "v"}, {"k": "v"}, bootable=True, read_only=True)
    assert list(changes_to(PLAIN, wanted))[-1].body == {"os-update_readonly_flag": {"readonly": True}}
