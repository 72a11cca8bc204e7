"""Every command in README.md and docs/ does what the documents say."""

from __future__ import annotations

from pathlib import Path

import pytest

import examples


@pytest.mark.parametrize("path", examples.documents(), ids=lambda path: path.stem)
def test_the_examples_of_a_document_do_what_it_says(path: Path) -> None:
    document = examples.Document.read(path)
    examples.run(document)
    wrong = [
        f"$ {one.command}\nsays:\n{one.expected}\nexits {one.status} and prints:\n{one.printed}"
        for one in document.examples
        if not one.as_said
    ]
    assert not wrong, "\n\n".join([*wrong, "tools/examples.py --write corrects them"])


def test_a_command_goes_on_in_the_lines_marked_so(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ cat <<END\n> one\n>\n> END\none\n$ true\n```\n")
    first, second = examples.Document.read(page).examples
    assert (first.command, first.expected) == ("cat <<END\none\n\nEND", "one\n")
    assert (second.command, second.expected) == ("true", "")


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("entry 7 of casemate.local/0011aabb\n", "entry 7 of casemate.local/99887766\n"),
        ("r_0123456789abcdef0123\n", "r_fedcba98765432100000\n"),
        ("a\n…\nz\n", "a\nb\nc\nz\n"),
        ("at\n   2026-01-01T00:00:00Z\n", "at 2027-02-03T04:05:06Z\n"),
    ],
)
def test_what_differs_each_time_is_not_compared(expected: str, printed: str) -> None:
    assert examples.matches(expected, printed)


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("35 euros\n", "53 euros\n"),
        ("entry 7\n", "entry 8\n"),
        ("a\n", "a\nb\n"),
        ("a\n…\nz\n", "a\nb\n"),
    ],
)
def test_what_is_said_is_compared(expected: str, printed: str) -> None:
    assert not examples.matches(expected, printed)
