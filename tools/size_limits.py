"""Find Python files and functions that are longer than the house allows."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60


def main(folders: list[str]) -> int:
    """Print what is too long below `folders`; 1 if something is, or if there is nothing to look at."""
    files = [path for folder in folders for path in sorted(Path(folder).rglob("*.py"))]
    findings = [finding for path in files for finding in oversized(path)]
    for finding in findings:
        print(finding)
    if not files:
        print(f"no Python files in {' '.join(folders) or 'nothing'}")
    return 1 if findings or not files else 0


def oversized(path: Path) -> Iterator[str]:
    """One line for the file and for each function of it that is too long; decorators do not count."""
    text = path.read_text("utf-8")
    lines = len(text.splitlines())
    if lines > MAX_FILE_LINES:
        yield f"{path}: {lines} lines, the limit is {MAX_FILE_LINES}"
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None, "the parser sets it"
            length = node.end_lineno - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{path}:{node.lineno}: function {node.name} has {length} lines, limit {MAX_FUNCTION_LINES}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
