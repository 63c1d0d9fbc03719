"""The project's own rules: pinned tools, sizes, links, invariants, and the two commands that do everything."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from icebrick.cli.main import COMMANDS
from tools import setup, size_limits

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
NAMED_TEST = re.compile(r"`((?:tests|src)/[\w/]+\.py)::(\w+)`")


@pytest.fixture(scope="module")
def locked() -> dict[str, str]:
    lines = (ROOT / "requirements-dev.lock").read_text().splitlines()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [Requirement(text) for text in chain(project["dependencies"], *extras)]
    return [requirement for requirement in wanted if requirement.name != project["name"]]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_dependency_is_locked_to_a_version_that_fits(requirement: Requirement, locked: dict[str, str]) -> None:
    assert locked[canonicalize_name(requirement.name)] in requirement.specifier


def test_the_lock_file_says_nothing_but_names_and_versions() -> None:
    lines = (ROOT / "requirements-dev.lock").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+]+", line)] == []


def test_continuous_integration_runs_the_checks_and_the_tests_and_nothing_cleverer() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands == [
        "set -euo pipefail",
        'cd "$(dirname "$0")/.."',
        "make check </dev/null",
        "make test </dev/null",
    ]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(["make", "-C", ROOT], capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert set(re.findall(r"^  make (\S+)", listed, re.MULTILINE)) == set(phony[1].split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_documentation_exist(page: Path) -> None:
    lines = page.read_text("utf-8").splitlines()
    used = {match[1] for line in lines if (match := re.match(r"icebrick (?:-\S+ \S+ )*([a-z]+)", line))}
    assert used <= set(COMMANDS)


def invariants() -> list[tuple[str, str]]:
    return NAMED_TEST.findall((ROOT / "docs" / "design" / "invariants.md").read_text("utf-8"))


def test_every_invariant_names_a_test() -> None:
    text = (ROOT / "docs" / "design" / "invariants.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| it", "| ---"))]
    assert rows
    assert [row for row in rows if not NAMED_TEST.search(row) and "`make check`" not in row] == []


@pytest.mark.parametrize(("file", "name"), invariants())
def test_every_invariant_names_a_test_that_exists(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_changelog_fragments_are_named_after_their_kind() -> None:
    names = [path.name for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]
    kinds = "feature|fix|removal|doc|misc"
    assert [name for name in names if not re.fullmatch(rf"[a-z0-9-]+\.({kinds})\.md", name)] == []


class TestSizeLimits:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "code").mkdir()
        return tmp_path / "code"

    def test_a_file_and_functions_at_the_limits_are_fine(self, folder: Path) -> None:
        function = "def f():\n" + "    pass\n" * 59
        (folder / "long.py").write_text(function * 8 + "\n" * 20)
        assert size_limits.main([str(folder)]) == 0

    @pytest.mark.parametrize(
        ("text", "finding"),
        [
            ("\n" * 501, "501 lines"),
            ("def f():\n" + "    pass\n" * 60, "function f has 61 lines"),
            ("class A:\n    async def g(self):\n" + "        pass\n" * 60, "function g has 61 lines"),
        ],
    )
    def test_what_is_too_long_is_found(
        self, text: str, finding: str, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "long.py").write_text(text)
        assert size_limits.main([str(folder)]) == 1
        assert finding in capsys.readouterr().out

    def test_nothing_to_look_at_is_a_mistake(self, folder: Path) -> None:
        assert size_limits.main([str(folder)]) == 1


class TestSetup:
    @pytest.fixture
    def bare(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A PATH with nothing on it; the folder to put programs in."""
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(setup, "SYSTEM_FOLDERS", ())
        yield tmp_path

    @staticmethod
    def put(folder: Path, name: str, script: str = "exit 0") -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    def test_what_is_missing_is_named_by_its_package(self, bare: Path) -> None:
        for program in set(setup.PROGRAMS) - {"restic", "mkfs.xfs"}:
            self.put(bare, program)
        assert setup.missing_packages(setup.PROGRAMS) == ["restic", "xfsprogs"]

    def test_where_nothing_is_missing_nothing_is_run(self, bare: Path) -> None:
        setup.install_packages([])  # would fail: there is no apt-get

    def test_without_apt_the_packages_are_left_to_a_person(self, bare: Path) -> None:
        with pytest.raises(setup.SetupError, match=r"no apt-get here.*restic xfsprogs"):
            setup.install_packages(["restic", "xfsprogs"])

    def test_without_root_and_sudo_the_packages_are_left_to_a_person(
        self, bare: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.put(bare, "apt-get")
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(setup.SetupError, match=r"neither root nor sudo.*restic"):
            setup.install_packages(["restic"])

    def test_others_than_root_install_with_sudo(self, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.put(bare, "apt-get")
        self.put(bare, "sudo", f'echo "$@" >> {bare}/log')
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        setup.install_packages(["restic"])
        assert (bare / "log").read_text().splitlines()[-1].endswith("install restic")

    def test_servers_that_packages_bring_stay_off(self, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.put(bare, "apt-get")
        self.put(bare, "systemctl")
        self.put(bare, "sudo", f'echo "$@" >> {bare}/log')
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setattr(setup, "DAEMON_POLICY", bare / "policy")
        setup.install_packages(["rclone", "vsftpd"])
        done = [
            line.removeprefix("env DEBIAN_FRONTEND=noninteractive ") for line in (bare / "log").read_text().split("\n")
        ]
        assert [line.split()[0] for line in done if line] == ["install", "apt-get", "apt-get", "systemctl", "rm"]
        assert done[0].endswith(f"{bare}/policy")
        assert done[3:5] == ["systemctl disable vsftpd", f"rm -f {bare}/policy"]

    def test_a_failure_is_told_in_the_words_of_the_program(self, bare: Path) -> None:
        self.put(bare, "broken", "echo 'no room left' >&2; exit 1")
        with pytest.raises(setup.SetupError, match=r"mending failed:\n  no room left"):
            setup.run([str(bare / "broken")], "mending")

    def test_the_environment_is_made_again_when_its_list_of_packages_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = setup.wanted_marks()
        lock = tmp_path / "requirements-dev.lock"
        lock.write_text("restic==1\n")
        monkeypatch.setattr(setup, "LOCK_FILE", lock)
        python, packages = setup.wanted_marks()
        assert (python, packages) == (before[0], packages)
        assert packages != before[1]

    def test_a_complete_environment_is_left_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(setup, "VENV", tmp_path)
        (tmp_path / "complete").write_text(" ".join(setup.wanted_marks()))
        monkeypatch.setattr(setup, "run", lambda *_: pytest.fail("something was run"))
        setup.make_venv()
