"""Text for terminals and logs."""

from __future__ import annotations

import json
import logging

import pytest

from icebrick.cli.logs import JsonFormatter, TextFormatter
from icebrick.cli.output import Output, one_line, printable, size_text, table
from icebrick.cli.progress import JSON_INTERVAL, PLAIN_INTERVAL, JsonProgress, PlainProgress


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_escape_sequences_from_a_repository_do_not_reach_the_terminal() -> None:
    assert printable("\x1b[2J\x07name\u202e") == "\\x1b[2J\\x07name\\u202e"


def test_a_log_line_stays_one_line() -> None:
    record = logging.LogRecord("icebrick", logging.INFO, "", 0, "volume=%s", ("a\nERROR forged",), None)
    assert "\n" not in TextFormatter("%(message)s").format(record)
    assert json.loads(JsonFormatter().format(record))["message"] == "volume=a\nERROR forged"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB"), (1 << 62, "4.0 EiB")]
)
def test_sizes_are_in_powers_of_1024(count: int, text: str) -> None:
    assert size_text(count) == text


def test_a_table_has_aligned_columns_and_one_line_a_row() -> None:
    assert table(("id", "name"), [("1", "a\nb"), ("22", "c")]) == "id  name\n1   a\\nb\n22  c"


def test_newlines_are_escaped_where_one_line_is_wanted() -> None:
    assert one_line("a\nb") == "a\\nb"


def test_a_warning_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False, quiet=False).warn("/a\nicebrick: error: forged: cannot be read")
    assert capsys.readouterr().err == "icebrick: warning: /a\\nicebrick: error: forged: cannot be read\n"


def test_bytes_that_are_not_utf8_are_shown_as_such() -> None:
    assert printable("caf\udce9 é") == "caf\\xe9 é"


def test_json_progress_tells_at_most_once_an_interval(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with JsonProgress(Output(as_json=True, quiet=False), clock).task("read", total=100, unit="B") as task:
        task.advance(10)
        clock.now += JSON_INTERVAL
        task.advance(15)
        task.advance(20)
    (line,) = capsys.readouterr().out.splitlines()
    status = json.loads(line)
    assert (status["message_type"], status["percent_done"]) == ("status", 0.25)
    assert (status["bytes_done"], status["total_bytes"]) == (25, 100)


def test_json_progress_of_an_unknown_total_has_no_percentage(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with JsonProgress(Output(as_json=True, quiet=False), clock).task("list", unit="files") as task:
        clock.now += JSON_INTERVAL
        task.advance(3)
    status = json.loads(capsys.readouterr().out)
    assert status["files_done"] == 3
    assert "percent_done" not in status


def test_plain_progress_ends_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with PlainProgress(clock).task("read", total=2 << 20, unit="B") as task:
        task.advance(1 << 20)
        clock.now += PLAIN_INTERVAL
        task.advance(1 << 20)
    assert capsys.readouterr().err.splitlines() == ["read: 2.0 MiB of 2.0 MiB (100 %)"] * 2


def test_quiet_output_still_gives_results_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=False, quiet=True)
    output.say("by the way")
    output.warn("beware")
    output.result("result", {})
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("result\n", "icebrick: warning: beware\n")
