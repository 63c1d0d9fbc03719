"""What every command shares: the options that may stand before or after its name, and loading on demand."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import click

from icebrick.config import options
from icebrick.config.option import Kind, Option
from icebrick.errors import UsageError
from icebrick.parallel import Stop


@dataclass(slots=True)
class Given:
    """What the shared options said, as text; what they mean is decided when a command asks for its settings."""

    values: dict[Option[Any], str] = field(default_factory=dict)
    config: str | None = None
    json: bool = False
    quiet: bool = False
    verbosity: int = 0
    no_lock: bool = False
    stop: Stop = field(default_factory=Stop)
    """Asked for by signals."""

    @staticmethod
    def of(context: click.Context) -> Given:
        """The one of this invocation, whichever command asks."""
        return context.find_root().ensure_object(Given)


def setting(option: Option[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The command line's form of a configuration option, for the commands that use it."""
    return click.option(*_declarations(option), **_setting_attributes(option))


def settings_for(*actions: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The command line's form of all options that these actions have."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options.OPTIONS):
            if option.flags and option not in _SHARED_SETTINGS and not set(actions).isdisjoint(option.actions):
                function = setting(option)(function)
        return function

    return decorate


def said(option: Option[Any]) -> bool:
    """Whether the command line says it."""
    return option in Given.of(click.get_current_context()).values


def take_back(option: Option[Any]) -> tuple[str, ...]:
    """What the command line says for a list; it is then no setting, as here it means something else."""
    text = Given.of(click.get_current_context()).values.pop(option, "")
    return tuple(part for part in text.split(",") if part)


def refuse_all_but(some: Collection[Option[Any]], what_for: str) -> None:
    """UsageError when the command line says another option of volumes. In the file it may wait for its time."""
    for option in Given.of(click.get_current_context()).values:
        if option.section == options.ENGINE and option not in some:
            raise UsageError(f"--{option.key} is for {what_for}")


def _declarations(option: Option[Any]) -> tuple[str, ...]:
    """As click has them: what says yes and what says no in one."""
    return ("/".join(option.flags),) if option.reader.kind is Kind.FLAG else option.flags


def _setting_attributes(option: Option[Any]) -> dict[str, Any]:
    kind = option.reader.kind

    def keep(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value is None or value == ():
            return
        if kind is Kind.FLAG:
            value = "yes" if value else "no"
        elif kind is Kind.LIST:
            value = ",".join(value)
        Given.of(context).values[option] = value

    def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        return [word for word in option.reader.choices if word.startswith(incomplete)]

    text = option.help
    if option.default_text and option.reader.kind is not Kind.FLAG:
        text += f" Default: {option.default_text}."
    if option.environment:
        text += f" [${option.environment}]"
    attributes = {"help": text, "expose_value": False, "callback": keep, "default": None}
    if kind is Kind.FLAG:
        return {**attributes, "is_flag": True}
    if option.reader.choices:
        attributes["shell_complete"] = complete
    return {**attributes, "metavar": option.reader.metavar, "multiple": kind is Kind.LIST}


def _keep_config(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    Given.of(context).config = value or Given.of(context).config


def _keep_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    Given.of(context).json |= value


def _keep_quiet(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    Given.of(context).quiet |= value


def _keep_verbosity(context: click.Context, _parameter: click.Parameter, value: int) -> None:
    Given.of(context).verbosity += value


_SHARED_SETTINGS = (
    options.REPOSITORY_LOCATION,
    options.PASSWORD_FILE,
    options.PROJECT_ID,
    options.CLOUD_NAME,
    options.RETRY_LOCK,
    options.BACKEND_OPTIONS,
    options.CA_FILE,
    options.CLIENT_CERTIFICATE,
    options.UPLOAD_LIMIT,
    options.DOWNLOAD_LIMIT,
    options.CACHE,
    options.CACHE_DIR,
)


def _shared_parameters() -> list[click.Option]:
    return [
        *(click.Option(_declarations(option), **_setting_attributes(option)) for option in _SHARED_SETTINGS),
        click.Option(
            ["--config"],
            metavar="FILE",
            expose_value=False,
            callback=_keep_config,
            help="The configuration file. [$ICEBRICK_CONFIG]",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            callback=_keep_json,
            help="Results and progress as JSON, one object a line.",
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_keep_quiet,
            help="Only results and errors.",
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            callback=_keep_verbosity,
            help="Say what is done; twice: in detail.",
        ),
    ]


class Command(click.Command):
    """A command that takes the shared options, with examples below its help."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self._own = len(self.params)
        self.params.extend(_shared_parameters())

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        parameters = self.get_params(context)
        own = [*parameters[: self._own], *parameters[self._own + len(_shared_parameters()) :]]
        _write_options(context, formatter, "Options", own)
        _write_options(context, formatter, "Options of every command", _without(parameters, own))

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(formatter, self.examples)


class LazyGroup(click.Group):
    """A group whose commands are modules of their own, imported when they are needed: help stays fast."""

    def __init__(self, *args: Any, commands_in: dict[str, tuple[str, str]], examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = commands_in
        self.examples = examples
        self._own = len(self.params)
        self.params.extend(_shared_parameters())

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self._lazy:
            return None
        module, _ = self._lazy[name]
        command = getattr(importlib.import_module(module), name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        _write_options(context, formatter, "Options", self.get_params(context))
        self.format_commands(context, formatter)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(formatter, self.examples)


def command(name: str, *, examples: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function an icebrick command. `examples` has one command line per line."""
    return click.command(name, cls=Command, examples=examples)


def write_examples(formatter: click.HelpFormatter, examples: str) -> None:
    """One example a line, as it is: wrapped, they could not be copied."""
    if examples:
        with formatter.section("Examples"):
            for line in examples.strip().splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line.strip()}\n")


def _write_options(
    context: click.Context, formatter: click.HelpFormatter, title: str, parameters: list[click.Parameter]
) -> None:
    rows = [row for parameter in parameters if (row := parameter.get_help_record(context)) is not None]
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)


def _without(parameters: list[click.Parameter], some: list[click.Parameter]) -> list[click.Parameter]:
    return [parameter for parameter in parameters if parameter not in some]
