"""The log holds what happened and never what was asked, whoever writes to it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from datetime import datetime

import pytest

from casemate.log import FIELDS, Aside, Json, Text, begin

SECRET = "What does the mayor earn?"


def a_record(
    message: str, *args: object, failing: bool = False, **facts: object
) -> logging.LogRecord:
    info = None
    if failing:
        try:
            raise ValueError(SECRET)
        except ValueError:
            info = sys.exc_info()
    record = logging.LogRecord("casemate.api", logging.ERROR, "x.py", 1, message, args, info)
    setattr(record, FIELDS, facts)
    return record


def test_json_is_one_object_a_line_with_time_level_and_facts() -> None:
    line = Json().format(a_record("request %d\nended", 3, route="/api/runs/{id}", status=200))
    assert "\n" not in line
    told = json.loads(line)
    assert told["message"] == "request 3\nended"
    assert (told["level"], told["logger"]) == ("error", "casemate.api")
    assert (told["route"], told["status"]) == ("/api/runs/{id}", 200)
    assert datetime.fromisoformat(told["time"]).tzinfo is not None


def test_text_is_one_line_whatever_stands_in_the_message() -> None:
    line = Text().format(a_record("begun\n2026-01-01 forged", status=1))
    assert "\n" not in line
    assert line.endswith("error begun 2026-01-01 forged status=1")


@pytest.mark.parametrize("formatter", [Json(), Text()])
def test_of_an_exception_only_its_kind_is_written(formatter: logging.Formatter) -> None:
    line = formatter.format(a_record("Exception in application", failing=True))
    assert "ValueError" in line
    assert "mayor" not in line


def test_a_log_that_nobody_reads_holds_up_nobody_and_says_what_is_missing() -> None:
    reading, writing = os.pipe()  # holds 64 KiB
    handler = Aside(writing, most=100)
    handler.setFormatter(Text())
    with open(reading) as reader:
        for number in range(2_000):
            handler.handle(a_record(f"line {number} {'x' * 100}"))
        seen, missing = 0, 0
        while seen + missing < 2_000:
            line = reader.readline()
            seen += " line " in line
            if " lines are missing here" in line:  # where the writer was as fast for a moment, too
                missing += int(line.split()[2])
        handler.handle(a_record("read again"))
        assert reader.readline().endswith("read again\n")
        handler.flush()
    os.close(writing)
    assert missing > 0
    assert seen >= 100


ENDING = """
import logging, sys
from casemate import log

log.begin("json")
for number in range(int(sys.argv[1])):
    logging.getLogger("casemate.api").error("line %d", number)
print("done", flush=True)
"""


def test_what_was_said_before_a_process_ends_is_written() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDING, "100"], capture_output=True, text=True, check=True
    )
    assert [json.loads(line)["message"] for line in ended.stderr.splitlines()] == [
        f"line {number}" for number in range(100)
    ]


def test_a_process_whose_log_nobody_reads_ends_well() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDING, "5000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as ending:
        assert ending.stdout is not None
        assert ending.stdout.read() == b"done\n"
        assert ending.wait(60) == 0


def test_where_several_processes_serve_each_message_names_its_own(
    capfd: pytest.CaptureFixture[str],
) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        begin("text", "worker 2")
        logging.getLogger("casemate.x").error("began", extra={FIELDS: {"status": 200}})
        logging.getLogger("another").error("went")
        root.handlers[0].flush()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    began, went = capfd.readouterr().err.splitlines()
    assert began.endswith("began status=200 process=worker 2")
    assert went.endswith("went process=worker 2")
