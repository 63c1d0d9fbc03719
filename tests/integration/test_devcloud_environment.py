"""The environment of the servers is made once, whole, and again when it should be another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from icebrick.devcloud.environment import REQUIREMENTS, prepare_environment
from icebrick.errors import DevcloudError

pytestmark = pytest.mark.slow


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    """A list of requirements without any: the environment is quickly made."""
    path = tmp_path / "requirements.txt"
    path.write_text("# none\n")
    return path


def test_it_is_made_once_by_two_who_want_it_at_once_and_anew_for_other_requirements(
    tmp_path: Path, nothing: Path
) -> None:
    folder = tmp_path / "venv"
    with ThreadPoolExecutor(2) as pool:
        pythons = list(pool.map(lambda _: prepare_environment(folder, requirements=nothing), range(2)))
    made = (folder / "complete").stat().st_mtime_ns
    assert pythons == [folder / "bin" / "python"] * 2
    assert prepare_environment(folder, requirements=nothing).exists()
    assert (folder / "complete").stat().st_mtime_ns == made

    (folder / "old").touch()
    nothing.write_text("# none, still\n")
    prepare_environment(folder, requirements=nothing)
    assert not (folder / "old").exists()


def test_one_left_half_made_is_removed_although_the_new_one_cannot_be_made(tmp_path: Path, nothing: Path) -> None:
    folder = tmp_path / "venv"
    folder.mkdir()
    (folder / "pyvenv.cfg").touch()
    (folder / "half").touch()
    nothing.write_text("./no-such-folder\n")
    with pytest.raises(DevcloudError, match="pip install"):
        prepare_environment(folder, requirements=nothing)
    assert not (folder / "half").exists()
    assert not (folder / "complete").exists()


def test_a_foreign_folder_is_not_removed(tmp_path: Path, nothing: Path) -> None:
    with pytest.raises(DevcloudError, match="neither empty nor a virtual environment"):
        prepare_environment(tmp_path, requirements=nothing)
    assert nothing.exists()


def test_every_requirement_has_one_version_and_no_address() -> None:
    for line in REQUIREMENTS.read_text().splitlines():
        name, _, version = line.partition("==")
        assert name and version and not set(line) & set("/:@ ")
