"""The specification's table: each sentence has a command that can be said, and tests that exist."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import pytest

from icebrick.cli.command import Given
from icebrick.cli.main import COMMANDS as NAMES
from icebrick.cli.main import icebrick
from icebrick.config.file import load_config_file
from icebrick.config.job import parse_job
from icebrick.config.options import BACKUP, ENGINE
from icebrick.config.settings import Settings, load_settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "specification.md"
OPTIONS = (
    "engine-os-brick",
    "recreate-vol-on-error",
    "meta-override",
    "consistency-groups",
    "all-tenants",
    "all-tenant-volumes",
    "single-volume-id",
    "remove-old-vol",
)
"""As the specification calls them; some with spaces or underscores there."""

CELL = re.compile(r"(?<!\\)\|")
CODE = re.compile(r"`([^`]+)`")
NAMED_TEST = re.compile(r"(test_\w+)\.py::([\w:]+)")
VARIABLES = {name: f"{name.lower()}-id" for name in ("VOLUME", "OTHER", "GROUP")}


@dataclass(frozen=True, slots=True)
class Row:
    """One sentence of the specification."""

    sentence: str
    commands: tuple[str, ...]
    happens: str
    tests: tuple[str, ...]


def rows() -> list[Row]:
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in CELL.split(line)[1:-1]] for line in lines]
    return [
        Row(sentence, tuple(CODE.findall(command)), happens, tuple(CODE.findall(tests)))
        for sentence, command, happens, tests in cells
        if sentence != "asked for" and set(sentence) != {"-"}
    ]


ROWS = rows()
COMMANDS = sorted({Template(command).substitute(VARIABLES) for row in ROWS for command in row.commands})
TESTS = sorted({test for row in ROWS for test in row.tests})


def parsed(command: str) -> tuple[str, Mapping[str, Any], Settings]:
    """The command's name, what only it has, and the settings: all that is known before anything is done."""
    given = Given()
    words = shlex.split(command)
    name = next(word for word in words if word in NAMES)
    with icebrick.make_context(words[0], words[1:], obj=given) as whole:
        chosen = icebrick.get_command(whole, name)
        assert chosen is not None
        rest = words[words.index(name) + 1 :]
        parameters = chosen.make_context(name, rest, parent=whole).params
    return name, parameters, load_settings(given.values, {})


def check_request(settings: Settings, action: str) -> None:
    """UsageError when it contradicts itself."""
    if action == BACKUP:
        settings.engine.backup_request()
    else:
        settings.engine.restore_request()


def test_no_cell_is_empty() -> None:
    assert len(ROWS) > 50
    assert [row for row in ROWS if not (row.sentence and row.commands and row.happens and row.tests)] == []


def test_each_sentence_stands_once() -> None:
    sentences = [row.sentence for row in ROWS]
    assert len(set(sentences)) == len(sentences)


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("icebrick ")])
def test_each_command_can_be_said(command: str) -> None:
    name, parameters, settings = parsed(command)
    if name in ("backup", "restore") and parameters.get("target") is None:
        check_request(settings, name)


@pytest.mark.parametrize("job", [each for each in COMMANDS if each.startswith("{")])
def test_each_job_can_be_said(job: str) -> None:
    read = parse_job(job.encode(), "of the table")
    check_request(load_settings({}, {}, job=read), read.action)


@pytest.mark.parametrize("line", [each for each in COMMANDS if not each.startswith(("icebrick ", "{"))])
def test_each_line_of_the_configuration_can_be_said(line: str, tmp_path: Path) -> None:
    file = tmp_path / "icebrick.conf"
    file.write_text(f"[{ENGINE}]\n{line}\n")
    assert load_config_file(file).sections[ENGINE]
    load_settings({}, {}, file=file)


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_of_the_specification_is_shown_on_the_command_line_in_a_job_and_in_the_configuration(
    option: str,
) -> None:
    key = option.replace("-", "_")
    assert any(re.search(rf"--{option}\b", command) for command in COMMANDS if command.startswith("icebrick "))
    assert any(f'"{key}":' in command for command in COMMANDS if command.startswith("{"))
    assert any(command.startswith(f"{option} = ") for command in COMMANDS)


@pytest.mark.parametrize("test", TESTS)
def test_each_test_exists_among_those_on_a_real_cloud(test: str) -> None:
    named = NAMED_TEST.fullmatch(test)
    assert named is not None
    found: Any = importlib.import_module(f"tests.integration.{named[1]}")
    *_, function = steps = named[2].split("::")
    for step in steps:
        found = getattr(found, step)
    assert function.startswith("test_")
    assert callable(found)


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_page_says_what_its_variables_are(variable: str) -> None:
    assert f"`${variable}`" in PAGE.read_text("utf-8").partition("\n|")[0]
