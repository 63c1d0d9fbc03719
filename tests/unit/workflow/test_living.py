"""Which runs live, as this host sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from icebrick.errors import IcebrickError
from icebrick.run import Run
from icebrick.workflow.living import GRACE, Life, RunRegistry

RUN = Run("20261123T061500Z-1f2e3d4c", "host1")
OTHER = Run("20261123T061600Z-00000000", "host1")

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)

KILLED = """
import os, signal, sys
from pathlib import Path
from icebrick.run import Run
from icebrick.workflow.living import RunRegistry
with RunRegistry(Path(sys.argv[1]), "host1").living(Run(sys.argv[2], "host1"), scope="p1"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def registry(tmp_path: Path) -> RunRegistry:
    return RunRegistry(tmp_path / "state", "host1")


def killed_run(tmp_path: Path, run: Run) -> None:
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "state", run.id], check=False)


def test_a_run_lives_within_its_block(registry: RunRegistry) -> None:
    with registry.living(RUN, scope="p1"):
        assert registry.life(RUN.id, RUN.host) is Life.LIVING


def test_another_process_sees_it_live(registry: RunRegistry, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from icebrick.workflow.living import RunRegistry; "
        "print(RunRegistry(Path(sys.argv[1]), 'host1').life(sys.argv[2], 'host1').value)"
    )
    with registry.living(RUN, scope="p1"):
        told = subprocess.run(
            [sys.executable, "-c", script, tmp_path / "state", RUN.id], check=True, capture_output=True, text=True
        )
    assert told.stdout.strip() == "living"


def test_a_run_that_ended_well_leaves_nothing(registry: RunRegistry, tmp_path: Path) -> None:
    with registry.living(RUN, scope="p1"):
        pass
    assert registry.dead_runs() == []
    assert list((tmp_path / "state/runs").iterdir()) == []


def test_a_killed_run_is_dead(registry: RunRegistry, tmp_path: Path) -> None:
    killed_run(tmp_path, RUN)
    assert registry.life(RUN.id, RUN.host) is Life.DEAD
    assert [(dead.run, dead.scope) for dead in registry.dead_runs()] == [(RUN, "p1")]


def test_a_run_that_ended_by_an_error_is_looked_after_by_the_next(registry: RunRegistry) -> None:
    with pytest.raises(KeyboardInterrupt), registry.living(RUN, scope="p1"):
        raise KeyboardInterrupt
    assert registry.life(RUN.id, RUN.host) is Life.DEAD


def test_a_run_that_could_not_clear_up_is_dead(registry: RunRegistry) -> None:
    with registry.living(RUN, scope="p1") as living:
        living.cleared = False
    assert registry.life(RUN.id, RUN.host) is Life.DEAD


def test_a_living_run_is_not_among_the_dead(registry: RunRegistry, tmp_path: Path) -> None:
    killed_run(tmp_path, RUN)
    with registry.living(OTHER, scope=""):
        assert [dead.run for dead in registry.dead_runs()] == [RUN]


def test_a_dead_run_is_forgotten_when_it_was_found_cleared_twice(registry: RunRegistry, tmp_path: Path) -> None:
    killed_run(tmp_path, RUN)
    registry.note_cleared(RUN.id, NOW)
    registry.note_cleared(RUN.id, NOW + GRACE)
    assert registry.life(RUN.id, RUN.host) is Life.UNKNOWN


def test_a_dead_run_is_remembered_while_its_last_request_may_be_under_way(
    registry: RunRegistry, tmp_path: Path
) -> None:
    killed_run(tmp_path, RUN)
    registry.note_cleared(RUN.id, NOW)
    registry.note_cleared(RUN.id, NOW + GRACE / 2)
    assert [(dead.run, dead.scope) for dead in registry.dead_runs()] == [(RUN, "p1")]


def test_a_living_run_cannot_be_forgotten(registry: RunRegistry) -> None:
    with registry.living(RUN, scope=""):
        registry.note_cleared(RUN.id, NOW)
        registry.note_cleared(RUN.id, NOW + GRACE)
        assert registry.life(RUN.id, RUN.host) is Life.LIVING


@pytest.mark.parametrize(
    ("run_id", "host"),
    [(RUN.id, "host2"), (RUN.id, "host1"), ("../../etc/passwd", "host1"), ("", "host1"), (RUN.id + "\n", "host1")],
)
def test_what_this_host_has_no_note_of_is_unknown(registry: RunRegistry, run_id: str, host: str) -> None:
    assert registry.life(run_id, host) is Life.UNKNOWN


def test_a_run_of_another_host_is_unknown_whatever_lies_here(registry: RunRegistry, tmp_path: Path) -> None:
    killed_run(tmp_path, RUN)
    assert registry.life(RUN.id, "host2") is Life.UNKNOWN


def test_a_note_that_was_cut_short_still_tells_of_a_dead_run(registry: RunRegistry, tmp_path: Path) -> None:
    killed_run(tmp_path, RUN)
    (tmp_path / "state/runs" / RUN.id).write_text('{"run": "2026')
    assert [(dead.run, dead.scope) for dead in registry.dead_runs()] == [(RUN, "")]


def test_a_state_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(IcebrickError, match="cannot use state directory"):
        RunRegistry(tmp_path / "state", "host1").dead_runs()


def test_the_notes_are_only_for_their_owner(registry: RunRegistry, tmp_path: Path) -> None:
    with registry.living(RUN, scope=""):
        assert os.stat(tmp_path / "state/runs" / RUN.id).st_mode & 0o077 == 0
