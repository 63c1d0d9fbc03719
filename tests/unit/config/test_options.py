"""Every option in every source: whatever is declared is read from all of them, and their order is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from icebrick.cli.backup import backup
from icebrick.cli.command import Given
from icebrick.cli.restore import restore
from icebrick.cli.run import run
from icebrick.config.job import Job, job_options, parse_job, spelt
from icebrick.config.option import Kind, Option
from icebrick.config.options import ENGINE, OPTIONS
from icebrick.config.resolve import Rank, Resolved
from icebrick.config.settings import Settings, load_settings
from icebrick.errors import UsageError

SPECIFIED = {
    "engine-os-brick",
    "recreate-vol-on-error",
    "meta-override",
    "consistency-groups",
    "all-tenants",
    "all-tenant-volumes",
    "single-volume-id",
    "remove-old-vol",
}
FOR_ACTIONS = [option for option in OPTIONS if option.actions and option.section == ENGINE]
WITH_FLAGS = [option for option in FOR_ACTIONS if option.flags]
COMMANDS = {"backup": backup, "restore": restore}
OF_A_COMMAND = [(option, action) for option in WITH_FLAGS for action in option.actions]
SAMPLES = {
    "ID": "0a1b",
    "KEY=PATTERN": "name=db-*",
    "OLD=NEW": "ssd=nvme",
    "TAG": "nightly",
    "WHEN": "2026-11-20",
    "latest|ID": "4f0b9f6e",
    "NAME": "main",
    "N": "3",
}
"""A value of each kind, by its metavar."""


def sample(option: Option[Any]) -> str:
    if option.reader.kind is Kind.FLAG:
        return "yes"
    return option.reader.choices[-1] if option.reader.choices else SAMPLES[option.reader.metavar]


def value(option: Option[Any]) -> Any:
    """The sample's."""
    return option.reader.read(sample(option))


def json_sample(option: Option[Any]) -> Any:
    match option.reader.kind:
        case Kind.FLAG:
            return True
        case Kind.NUMBER:
            return int(sample(option))
        case Kind.LIST:
            return [sample(option)]
        case Kind.TEXT:
            return sample(option)


def arguments(option: Option[Any]) -> list[str]:
    flag = option.flags[0]
    return [flag] if option.reader.kind is Kind.FLAG else [flag, sample(option)]


def given(command: click.Command, *words: str) -> dict[Option[Any], str]:
    return Given.of(command.make_context(command.name, list(words))).values


def job_with(option: Option[Any], said: Any, *, key: str | None = None) -> Job:
    document = {"action": option.actions[0], key or spelt(option): said}
    return parse_job(json.dumps(document).encode(), "nightly.json")


def file_with(tmp_path: Path, option: Option[Any]) -> Path:
    path = tmp_path / "icebrick.conf"
    path.write_text(f"[repository:main]\n[cloud:main]\n[{ENGINE}]\n{option.key} = {sample(option)}\n")
    return path


def resolved(settings: Settings, option: Option[Any]) -> Resolved[Any]:
    return next(each for each in settings.resolved if each.option is option)


def test_the_options_of_the_specification_have_their_names() -> None:
    assert {option.key for option in WITH_FLAGS} >= SPECIFIED


@pytest.mark.parametrize("option", FOR_ACTIONS, ids=lambda option: option.key)
def test_the_file_says_it(tmp_path: Path, option: Option[Any]) -> None:
    if not option.flags:  # chooses a section, which is all that is seen of it
        assert load_settings({}, {}, file=file_with(tmp_path, option)).file is not None
        return
    found = resolved(load_settings({}, {}, file=file_with(tmp_path, option)), option)
    assert (found.rank, found.value) == (Rank.FILE, value(option))


@pytest.mark.parametrize("option", WITH_FLAGS, ids=lambda option: option.key)
@pytest.mark.parametrize("hyphens", [False, True])
def test_a_job_says_it_with_hyphens_or_underscores(option: Option[Any], hyphens: bool) -> None:
    key = option.key if hyphens else spelt(option)
    found = resolved(load_settings({}, {}, job=job_with(option, json_sample(option), key=key)), option)
    assert (found.rank, found.value) == (Rank.JOB, value(option))


@pytest.mark.parametrize(("option", "action"), OF_A_COMMAND, ids=lambda each: getattr(each, "key", each))
def test_the_command_line_says_it(option: Option[Any], action: str) -> None:
    found = resolved(load_settings(given(COMMANDS[action], *arguments(option)), {}), option)
    assert (found.rank, found.value) == (Rank.COMMAND_LINE, value(option))


@pytest.mark.parametrize("option", WITH_FLAGS, ids=lambda option: option.key)
def test_the_command_line_counts_more_than_a_job_and_that_more_than_the_file(
    tmp_path: Path, option: Option[Any]
) -> None:
    file, job = file_with(tmp_path, option), job_with(option, json_sample(option))
    line = given(run, "job.json", *arguments(option))
    assert resolved(load_settings(line, {}, file=file, job=job), option).rank == Rank.COMMAND_LINE
    assert resolved(load_settings({}, {}, file=file, job=job), option).rank == Rank.JOB
    assert resolved(load_settings({}, {}, file=file), option).rank == Rank.FILE


@pytest.mark.parametrize("option", FOR_ACTIONS, ids=lambda option: option.key)
def test_a_value_of_another_type_is_refused_with_the_key(option: Option[Any]) -> None:
    wrong: dict[Kind, list[Any]] = {
        Kind.FLAG: ["yes", 1, None],
        Kind.NUMBER: ["3", True, 3.5, None],
        Kind.TEXT: [3, True, None, ["a"]],
        Kind.LIST: [3, True, None, [3], {"a": "b"}],
    }
    for each in wrong[option.reader.kind]:
        with pytest.raises(UsageError) as caught:
            job_with(option, each)
        assert str(caught.value).startswith(f"job nightly.json: {spelt(option)}: wrong type, expected ")


@pytest.mark.parametrize("option", [o for o in WITH_FLAGS if len(o.flags) > 1], ids=lambda option: option.key)
def test_the_command_line_can_say_no_to_what_the_file_says(tmp_path: Path, option: Option[Any]) -> None:
    line = given(run, "job.json", f"--no-{option.key}")
    assert resolved(load_settings(line, {}, file=file_with(tmp_path, option)), option).value is False


@pytest.mark.parametrize("option", [o for o in WITH_FLAGS if o.reader.kind is Kind.LIST], ids=lambda option: option.key)
def test_a_list_is_written_with_commas_and_flags_repeat(option: Option[Any]) -> None:
    first = sample(option)
    second = {"KEY=PATTERN": "type=ssd", "OLD=NEW": "hdd=sata"}.get(option.reader.metavar, f"{first}2")
    once = load_settings(given(run, "j", option.flags[0], f"{first}, {second}"), {})
    twice = load_settings(given(run, "j", option.flags[0], first, option.flags[0], second), {})
    array = load_settings({}, {}, job=job_with(option, [first, second]))
    values = [resolved(settings, option).value for settings in (once, twice, array)]
    assert len(values[0]) == 2
    assert values == values[:1] * 3


@pytest.mark.parametrize("action", COMMANDS)
def test_a_job_can_say_what_the_command_can(action: str) -> None:
    flags = {flag for parameter in COMMANDS[action].params for flag in parameter.opts}
    assert {option.flags[0] for option in job_options(action) if option.flags} <= flags


@pytest.mark.parametrize("command", [backup, restore, run])
@pytest.mark.parametrize("option", [o for o in WITH_FLAGS if o.reader.choices], ids=lambda option: option.key)
def test_words_are_completed(command: click.Command, option: Option[Any]) -> None:
    parameters = [each for each in command.params if option.flags[0] in each.opts]
    for parameter in parameters:
        words = parameter.shell_complete(click.Context(command), option.reader.choices[0][:1])
        assert option.reader.choices[0] in [word.value for word in words]
