"""Reading the INI file. Whatever is not known in it is an error that says where, and what was expected."""

from __future__ import annotations

import configparser
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icebrick.config.option import Option
from icebrick.config.options import NAMED_SECTIONS, OPTIONS, SECTIONS
from icebrick.errors import UsageError

SYSTEM_FILE = Path("/etc/icebrick/icebrick.conf")
FILE_VARIABLE = "ICEBRICK_CONFIG"

_NO_DEFAULT_SECTION = "\0"  # cannot stand in a file, so [DEFAULT] is a section like any other: an unknown one


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The checked text of a file. `sections` has the full names, as `repository:main`; keys are spelt with hyphens."""

    path: Path | None = None
    sections: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def names(self, kind: str) -> tuple[str, ...]:
        """The NAMEs of the sections `[kind:NAME]`, in the file's order."""
        return tuple(section.partition(":")[2] for section in self.sections if section.startswith(f"{kind}:"))

    def text(self, section: str, key: str) -> str | None:
        """What stands there; None when the section or the key is absent."""
        return self.sections.get(section, {}).get(key)


def find_config_file(given: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The file to read: the one given, else ICEBRICK_CONFIG's, else the user's or the system's if there is one."""
    if given is not None:
        return given
    if environment.get(FILE_VARIABLE):
        return Path(environment[FILE_VARIABLE])
    home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '/')}/.config"
    candidates = (Path(home) / "icebrick" / "icebrick.conf", SYSTEM_FILE)
    return next((path for path in candidates if path.is_file()), None)


def load_config_file(path: Path) -> ConfigFile:
    """Read and check all of it. UsageError names the file, the section, the key and what was expected."""
    parser = configparser.ConfigParser(interpolation=None, default_section=_NO_DEFAULT_SECTION)
    try:
        parser.read_string(path.read_text("utf-8"), source=str(path))
    except OSError as error:
        raise UsageError(f"cannot read configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"configuration {path} is not UTF-8 text") from error
    except configparser.Error as error:
        raise UsageError(f"configuration {path}: {_first_line(error)}") from error
    sections = {name: _checked_section(path, name, dict(parser[name])) for name in parser.sections()}
    return ConfigFile(path, sections)


def _first_line(error: configparser.Error) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    text = " ".join(line.strip() for line in lines)
    return text[:1].lower() + text[1:]


def _checked_section(path: Path, section: str, keys: dict[str, str]) -> dict[str, str]:
    kind, colon, name = section.partition(":")
    if kind not in SECTIONS or bool(colon) != (kind in NAMED_SECTIONS) or bool(colon) != bool(name):
        known = ", ".join(f"[{kind}:NAME]" if kind in NAMED_SECTIONS else f"[{kind}]" for kind in SECTIONS)
        raise UsageError(f"configuration {path}: unknown section [{section}], expected one of {known}")
    known_options = {option.key: option for option in OPTIONS if option.section == kind}
    checked = {}
    for spelling, text in keys.items():
        key = spelling.replace("_", "-")
        where = f"configuration {path}: [{section}] {spelling}"
        if key in checked:
            raise UsageError(f"{where}: stands twice, with hyphen and with underscore")
        _check_key(where, key, known_options)
        read_text(known_options[key], text, where)
        checked[key] = text
    return checked


def _check_key(where: str, key: str, options: Mapping[str, Option[Any]]) -> None:
    in_file = [name for name, option in options.items() if not option.secret]
    if key in in_file:
        return
    if key in options:
        raise UsageError(f"{where}: secrets do not belong in this file", hint="Use 'password-file'.")
    close = difflib.get_close_matches(key, in_file, 1)
    hint = f"Did you mean '{close[0]}'?" if close else None
    raise UsageError(f"{where}: unknown key, expected one of {', '.join(in_file)}", hint=hint)


def read_text(option: Option[Any], text: str, where: str) -> Any:
    """The option's value for this text; UsageError that starts with `where`. A secret's text is not repeated."""
    try:
        return option.reader.read(text)
    except UsageError as error:  # of a reader that knows better than `expected` what is wrong
        raise UsageError(f"{where}: {error}", hint=error.hint) from error
    except (ValueError, KeyError) as error:
        shown = "***" if option.secret else repr(text)
        raise UsageError(f"{where}: {shown} is not {option.reader.expected}") from error
