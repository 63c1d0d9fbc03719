"""Errors, exit codes and help."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from tests.unit.cli.conftest import Icebrick

from icebrick.cli.command import Command, LazyGroup
from icebrick.cli.main import COMMANDS
from icebrick.cli.main import icebrick as group
from icebrick.cli.reference import cli_page

REFERENCE = Path(__file__).parents[3] / "docs/reference/cli.md"


def all_commands() -> list[click.Command]:
    found: list[click.Command] = []
    waiting: list[click.Command] = [group]
    while waiting:
        command = waiting.pop()
        found.append(command)
        if isinstance(command, click.Group):
            context = click.Context(command)
            children = [command.get_command(context, name) for name in command.list_commands(context)]
            waiting += [child for child in children if child is not None]
    return found


def test_wrong_arguments_end_with_2_and_say_where_help_is(icebrick: Icebrick) -> None:
    ran = icebrick("snapshots", "--xyz")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines() == [
        "icebrick: error: no such option '--xyz'",
        "hint: See 'icebrick snapshots --help'.",
    ]


def test_an_unknown_command_ends_with_2(icebrick: Icebrick) -> None:
    assert icebrick("destroy").code == 2


def test_no_repository_ends_with_10(icebrick: Icebrick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "x")
    assert icebrick("-r", tmp_path / "absent", "snapshots").code == 10


def test_a_wrong_password_ends_with_12(icebrick: Icebrick, location: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "wrong")
    assert icebrick("snapshots").code == 12


def test_no_repository_named_ends_with_2_and_a_hint(icebrick: Icebrick) -> None:
    ran = icebrick("snapshots")
    assert ran.code == 2
    assert "hint: Use -r LOCATION" in ran.err


def test_with_json_the_error_is_a_json_line_on_stderr(icebrick: Icebrick) -> None:
    ran = icebrick("snapshots", "--json")
    error = json.loads(ran.err)
    assert (error["message_type"], error["code"], ran.out) == ("exit_error", 2, "")
    assert error["message"] == "no repository is named"


def test_what_cannot_be_printed_is_escaped_in_messages(
    icebrick: Icebrick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "x")
    ran = icebrick("-r", tmp_path / "\x1b[2J\udcff", "snapshots")
    assert ran.code == 10
    assert "\\x1b[2J\\xff" in ran.err


def test_an_interrupt_ends_with_130(icebrick: Icebrick, location: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("icebrick.repository.repository.Repository.snapshots", interrupt)
    ran = icebrick("snapshots")
    assert ran.code == 130
    assert "interrupted" in ran.err


def test_a_bug_is_not_swallowed(icebrick: Icebrick, location: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icebrick.repository.repository.Repository.snapshots", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        icebrick("snapshots")


def test_shared_options_may_stand_before_or_after_the_command(icebrick: Icebrick, location: Path) -> None:
    before = icebrick("-r", location, "--json", "snapshots")
    after = icebrick("snapshots", "-r", location, "--json")
    assert before == after
    assert before.json == [[]]


def test_the_list_of_commands_says_what_each_ones_help_says() -> None:
    for name, (_, text) in COMMANDS.items():
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if name != "devcloud":
            assert (command.help or "").splitlines()[0] == text


def test_every_command_has_examples() -> None:
    for command in all_commands():
        if isinstance(command, Command | LazyGroup) and command.name != "config":
            assert "icebrick" in command.examples, command.name


def test_every_option_has_a_help_text() -> None:
    for command in all_commands():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{command.name} {parameter.name}"


def test_no_option_takes_a_password() -> None:
    for command in all_commands():
        for parameter in command.params:
            assert "--password" not in parameter.opts


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(icebrick: Icebrick, shell: str) -> None:
    ran = icebrick("completion", shell)
    assert ran.code == 0
    assert "_ICEBRICK_COMPLETE" in ran.out


def test_the_version_is_printed_as_json(icebrick: Icebrick) -> None:
    (record,) = icebrick("version", "--json").json
    assert record["message_type"] == "version"


def test_the_reference_page_is_up_to_date() -> None:
    assert REFERENCE.read_text("utf-8") == cli_page(), "run 'make docs'"
