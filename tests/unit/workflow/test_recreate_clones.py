"""Clones that fail in the storage, and are made again where that is wanted."""

from __future__ import annotations

import pytest
from tests.unit.workflow.conftest import World, named

from icebrick.errors import CloudUnavailableError, IcebrickError, UnexpectedStateError
from icebrick.workflow.report import BackupReport

IN_ERROR = UnexpectedStateError("volume is in state error")


def back_up(world: World, error: IcebrickError, times: int, *, recreate: bool) -> BackupReport:
    """A volume whose clone fails so often. Whatever happens, nothing is left."""
    volume = world.make_volume(b"content")
    before = world.resources()
    world.cloud.faults.fail("create_clone", error, times=times)
    report = world.back_up_scope(named(volume.id), recreate_on_error=recreate)
    assert world.resources() == before
    return report


def test_one_is_made_again_three_times(world: World) -> None:
    report = back_up(world, IN_ERROR, 3, recreate=True)
    assert (len(report.backups), report.failures) == (1, ())
    assert world.cloud.faults.calls.count("create_snapshot") == 1


@pytest.mark.parametrize(
    ("error", "times", "recreate", "tried"),
    [(IN_ERROR, 4, True, 4), (IN_ERROR, 1, False, 1), (CloudUnavailableError("no answer"), 1, True, 1)],
    ids=["too often", "not wanted", "another error"],
)
def test_else_the_backup_fails(world: World, error: IcebrickError, times: int, tried: int, *, recreate: bool) -> None:
    (failure,) = back_up(world, error, times, recreate=recreate).failures
    assert failure.message == str(error)
    assert world.cloud.faults.calls.count("create_clone") == tried
