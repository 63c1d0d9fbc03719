"""What needs iSCSI or dm-crypt, in a guest: each test there is one here, which tells as it goes with `-s`."""

from __future__ import annotations

import ast
import os
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from icebrick.testing.lab.guest import Job, run_in_guest
from icebrick.testing.lab.image import Image, default_folder
from icebrick.testing.lab.python import pack, python_environment, python_folders

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CHECKS = ROOT / "tests" / "integration"
SECONDS = 2700.0
"""Twice what it takes on a quiet machine."""


def checks() -> Iterator[str]:
    """Names of the tests that run in the guest, and of the classes of such; parameters make one more than a test."""
    for path in sorted(CHECKS.rglob("check_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.startswith(("test_", "Test")):
                yield f"{path.stem}::{node.name}"


def name_of(case: ElementTree.Element) -> str:
    """The same name, of one test in the guest's report."""
    *_, above, last = case.attrib["classname"].split(".")
    return f"{above}::{last}" if last.startswith("Test") else f"{last}::{case.attrib['name'].partition('[')[0]}"


@pytest.fixture(scope="module")
def outcomes(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[ElementTree.Element]]:
    """What the guest's pytest reports of each test, once for each of its parameters or methods."""
    shared = tmp_path_factory.mktemp("guest")
    report = shared / "report.xml"
    folders = python_folders()
    job = Job(
        command=[
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "--durations=0", f"--junitxml={report}"),
            *("--require=restic,cinder,root,cryptsetup", "-o", "python_files=check_*.py", str(CHECKS)),
        ],
        seen=[ROOT],
        packed=folders,
        pack=pack(default_folder(), folders),
        shared=[shared],
        environment=python_environment(),
        working=ROOT,
        seconds=SECONDS,
        memory_mib=4096,  # its temporary files are in there, a whole image of noise among them
    )
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as output:
        code = run_in_guest(image, job, output)
    assert report.exists(), f"the guest ended with {code} and reports nothing"
    found: dict[str, list[ElementTree.Element]] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        found.setdefault(name_of(case), []).append(case)
    return found


@pytest.mark.parametrize("check", list(checks()))
def test_in_the_guest(outcomes: Mapping[str, list[ElementTree.Element]], check: str) -> None:
    cases = outcomes.get(check, [])
    assert cases, "the guest did not run it"
    problems = [problem for case in cases for kind in ("failure", "error", "skipped") for problem in case.findall(kind)]
    assert not problems, "\n".join(f"{problem.attrib.get('message')}\n{problem.text}" for problem in problems)
