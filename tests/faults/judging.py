"""Whether a repository is whole after a kill and its recovery, by our own check, by restoring, and by stock restic."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing

from tests.faults.content import digest_of
from tests.faults.scene import Desk, Scene

from icebrick.backend.local import LocalBackend
from icebrick.progress import NO_PROGRESS
from icebrick.repository.check.check import check_repository
from icebrick.repository.repository import open_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.testing.images import PASSWORD
from icebrick.testing.restic import Restic
from icebrick.workflow.images import Images, load_images
from icebrick.workflow.naming import volume_path
from icebrick.workflow.restore import Restorable, restore_to_path
from icebrick.workflow.select import with_path


def problems_of_repository(scene: Scene, desk: Desk) -> Iterator[str]:
    """The earliest backup of the volume in use and the newest, made after the kill, must restore."""
    with closing(LocalBackend(desk.repository)) as backend:
        repository = open_repository(backend, PASSWORD)
        yield from map(str, check_repository(repository, read_data=True).problems)
        images = load_images(repository, NO_PROGRESS)
    backups = with_path(images.snapshots, volume_path(scene.volumes.used))
    if len(with_path(images.snapshots, volume_path(scene.volumes.gone))) != 1:
        yield f"the backup of volume {scene.volumes.gone} is missing"
    for snapshot, wanted in ((backups[0], scene.volumes.used_backup), (backups[-1], scene.used_now)):
        if _restored(images, snapshot, desk) != wanted:
            yield f"snapshot {snapshot.id} restores something else"
    members = {volume_id: digest_of(scene.file_of(volume_id)) for volume_id in scene.volumes.members}
    for volume_id, wanted in {**members, **scene.images}.items():
        for snapshot in with_path(images.snapshots, volume_path(volume_id)):
            if _restored(images, snapshot, desk) != wanted:
                yield f"snapshot {snapshot.id} restores something else"
    yield from _restics_problems(desk)


def _restored(images: Images, snapshot: Snapshot, desk: Desk) -> str:
    path = desk.folder / "restored"
    restorable = Restorable(snapshot, images.find(snapshot), images)
    restore_to_path(restorable, path, replace=True, run_id="judge", progress=NO_PROGRESS)
    return digest_of(path)


def _restics_problems(desk: Desk) -> Iterator[str]:
    program = shutil.which("restic")
    if program is not None:
        checked = Restic(program, desk.repository, PASSWORD.reveal()).attempt("check", "--read-data")
        if checked.returncode:
            yield f"restic check: {checked.stdout}{checked.stderr}"
