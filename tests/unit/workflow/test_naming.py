"""Names of snapshots."""

from __future__ import annotations

import pytest

from icebrick.errors import UsageError
from icebrick.workflow.naming import (
    BackupMode,
    image_of_path,
    image_path,
    name_image,
    name_volume,
    volume_of_path,
    volume_path,
)


def test_a_volumes_snapshot_is_found_by_volume_project_and_run() -> None:
    naming = name_volume("v1", "p1", run_id="r1", name="web", tags=("nightly",))
    assert (naming.hostname, naming.path) == ("cinder", "/cinder/v1")
    assert naming.tags == ("icebrick", "volume:v1", "project:p1", "run:r1", "name:web", "nightly")
    assert naming.of_mode(BackupMode.FILES).tags == (*naming.tags, "mode:files")


@pytest.mark.parametrize(("name", "tags"), [("", ()), ("a,b", ("name:a_b",)), ("\x1b[2J\n", ("name:_[2J_",))])
def test_a_volumes_name_becomes_a_tag_that_restic_can_ask_for(name: str, tags: tuple[str, ...]) -> None:
    assert name_volume("v1", "p1", run_id="r1", name=name).tags[4:] == tags


def test_an_images_snapshot_carries_its_host() -> None:
    naming = name_image("disk1", "host1", run_id="r1")
    assert (naming.hostname, naming.path) == ("host1", "/image/disk1")


def test_paths_lead_back_to_volume_and_image() -> None:
    assert volume_of_path(volume_path("v1")) == "v1"
    assert image_of_path(image_path("disk1")) == "disk1"


def test_a_foreign_path_is_neither() -> None:
    assert (volume_of_path("/home"), image_of_path("/home")) == (None, None)


@pytest.mark.parametrize("volume_id", ["", "..", "../types/1f2e", "v1/../v2", "v1?all_tenants=1", "v1\n", "-v"])
def test_what_could_not_be_an_id_in_a_request_names_no_volume(volume_id: str) -> None:
    assert volume_of_path(f"/cinder/{volume_id}") is None


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\nb", "\x1b[2J"])
def test_an_image_name_that_is_not_one_word_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="image name"):
        image_path(name)


@pytest.mark.parametrize("tag", ["", "a,b", "a\nb"])
def test_a_tag_that_restic_could_not_ask_for_is_refused(tag: str) -> None:
    with pytest.raises(UsageError, match="tag"):
        name_image("disk1", "host1", run_id="r1", tags=(tag,))
