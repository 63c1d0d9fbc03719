"""What needs dm-crypt, in a guest. What its pytest says is shown as it comes, with `-s`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from icebrick.testing.lab.guest import Job, run_in_guest
from icebrick.testing.lab.image import Image, default_folder
from icebrick.testing.lab.python import pack, python_environment, python_folders

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECONDS = 1800.0
TESTS = ("tests/integration/test_workflows_encrypted.py", "-k", "files_in")


def test_encrypted_volumes_are_read_and_written_decrypted(image: Image) -> None:
    folders = python_folders()
    pytest_command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "--durations=0")
    job = Job(
        command=[*pytest_command, "--require=restic,cinder,root,cryptsetup,dm-crypt", *TESTS],
        seen=[ROOT],
        packed=folders,
        pack=pack(default_folder(), folders),
        environment=python_environment(),
        working=ROOT,
        seconds=SECONDS,
    )
    output = io.BytesIO()
    code = run_in_guest(image, job, output)
    said = output.getvalue().decode(errors="replace")
    sys.stdout.write(said)
    assert code == 0, said
