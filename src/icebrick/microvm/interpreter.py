"""This Python, as far as the guest's program needs it, and other programs with their libraries."""

from __future__ import annotations

import importlib.util
import marshal
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from icebrick.errors import ReaderError

PROGRAM = "icebrick.microvm.guest.boot"
_SOURCES = Path(__file__).resolve().parent.parent.parent
_HOME = "/python"
_START = "/start.py"
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_LOADER = "/lib64/ld-linux-x86-64.so.2"
"""Asked itself, as `ldd` would do it."""
_ASK = """
import sys
sys.path.insert(0, sys.argv[1])
import encodings.utf_8, {program}
for name, module in sorted(sys.modules.items()):
    print(name, getattr(module, "__file__", None) or "-", sep="\\t")
"""
_LIBRARY = re.compile(r"(?:^|=>)\s*(/\S+)\s+\(0x[0-9a-f]+\)$", re.MULTILINE)
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}


def python_files() -> Mapping[str, bytes]:
    """By their paths in the guest: the interpreter, and all modules that its program imports, compiled."""
    interpreter = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    stdlib = f"{_HOME}/lib/{_VERSION}"
    files = {f"{_HOME}/bin/{_VERSION}": _read(interpreter), **dict(program_libraries(interpreter))}
    files[_START] = f"from {PROGRAM} import main; main()".encode()  # -m would need runpy, and that much more
    for name, path in _modules(interpreter):
        if path.endswith(".py"):
            last = "/__init__" if path.endswith("__init__.py") else ""
            files[f"{stdlib}/{name.replace('.', '/')}{last}.pyc"] = _compiled(path)
        else:
            files[f"{stdlib}/lib-dynload/{os.path.basename(path)}"] = _read(path)
            files.update(program_libraries(path))
    return files


def python_command() -> list[str]:
    """What starts the guest's program."""
    return [f"{_HOME}/bin/{_VERSION}", "-I", "-S", "-B", "-X", "utf8", _START]


def program_libraries(program: str) -> Iterator[tuple[str, bytes]]:
    """All that a program or library is linked with, and what loads it, by path."""
    for path in _LIBRARY.findall(_run([_LOADER, "--list", program])):
        yield path, _read(path)


def _modules(interpreter: str) -> Iterator[tuple[str, str]]:
    """Names and files of all modules that were not born with the interpreter."""
    asked = _run([interpreter, "-I", "-S", "-c", _ASK.format(program=PROGRAM), str(_SOURCES)])
    for line in asked.splitlines():
        name, _, path = line.partition("\t")
        if path != "-":
            yield {"os.path": "posixpath"}.get(name, name), path


def _compiled(path: str) -> bytes:
    """As Python keeps it, never to be compared with a source that is not there; the header is of PEP 552."""
    code = compile(_read(path), f"<{os.path.basename(path)}>", "exec", dont_inherit=True, optimize=2)
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code)


def _run(command: list[str]) -> str:
    try:
        ended = subprocess.run(
            command, check=True, capture_output=True, text=True, env=_ENVIRONMENT, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.CalledProcessError) as error:
        words = getattr(error, "stderr", None) or error
        raise ReaderError(f"cannot tell what {command[-1]} needs: {words}") from error
    return ended.stdout


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ReaderError(f"cannot read {path}: {error.strerror}") from error
