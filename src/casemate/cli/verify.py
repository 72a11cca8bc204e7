"""The command that checks receipts: one in full, or many at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from casemate.cli import show
from casemate.errors import Invalid, NotFound

if TYPE_CHECKING:
    from casemate.ledger.verdict import Verdict
    from casemate.ledger.verify import Unproven

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("receipts", metavar="RECEIPT…", type=_FILE, nargs=-1, required=True)
@click.option("--key", required=True, type=_FILE, help="The log's vkey line.")
@click.option("--answer", type=_FILE, help="The answer's text, to compare with one receipt.")
@click.option("--witness", "witnesses", type=_FILE, multiple=True, help="A witness's vkey line.")
@click.option(
    "--witnesses-needed",
    "needed",
    type=click.IntRange(0),
    help="How many witnesses must have cosigned (default: all that are named).",
)
@show.json_option
def verify(
    receipts: tuple[Path, ...],
    key: Path,
    answer: Path | None,
    witnesses: tuple[Path, ...],
    needed: int | None,
    as_json: bool,
) -> None:
    """Check receipts offline; say what is proven and what is not.

    RECEIPT is a file, or a folder: then every *.json below it, with a line for each that fails
    (with --json, a line of JSON for each). A file of keys may hold one key or, while a log
    changes its key, the old and the new one, each on its line.
    """
    from casemate.ledger import command
    from casemate.ledger.verdict import plain
    from casemate.ledger.verify import Unproven, Verifying

    several = len(receipts) > 1 or receipts[0].is_dir()
    if several and answer is not None:
        raise click.UsageError("--answer goes with one receipt.")
    try:
        verifying = Verifying(
            command.key_text(_read(key), "key"),
            [command.key_text(_read(path), "witnesses") for path in witnesses],
            needed,
        )
        if several:
            code = command.report(receipts, verifying, as_json=as_json)
            raise click.exceptions.Exit(code)
        text = None if answer is None else _read(answer)
        verdict = verifying.verify(_read(receipts[0]), text)
    except Unproven as problem:
        if as_json:
            show.json({"proven": False, "part": problem.part, "reason": problem.reason})
            raise click.exceptions.Exit(1) from None
        raise Invalid(
            plain(f"Not proven: {problem.part}: {problem.reason}."), _what_to_do(problem)
        ) from None
    _tell(verdict, as_json=as_json)


def _tell(verdict: Verdict, *, as_json: bool) -> None:
    facts = verdict.facts
    if as_json:
        show.json(
            {
                "proven": list(verdict.proven),
                "not_proven": list(verdict.not_proven),
                "facts": facts,
            }
        )
        return
    if "question" in facts:
        click.echo(_quoted("Question:   ", facts["question"]))
    if "answer" in facts:
        compared = "" if facts["answer_compared"] else " (compared with no file)"
        click.echo(_quoted("Answer:     ", facts["answer"] + compared))
    for fact in verdict.proven:
        click.echo(show.wrapped(fact, "            ", "Proven:     "))
    for fact in verdict.not_proven:
        click.echo(show.wrapped(fact, "            ", "Not proven: "))


def _quoted(first: str, text: str) -> str:
    from casemate.ledger.verdict import plain

    # what a receipt quotes must not steer the terminal
    clean = "\n".join(plain(line) for line in text.splitlines())
    return show.wrapped(clean, " " * len(first), first)


def _what_to_do(problem: Unproven) -> str:
    if problem.part == "key":
        return "Ask for the log's vkey line."
    if problem.part == "witnesses":
        return "Ask for a receipt that they cosigned, or fewer with --witnesses-needed."
    return "Do not rely on it; ask for it again."


def _read(path: Path) -> bytes:
    from casemate.ledger import folder

    try:
        return folder.read(path)
    except OSError as problem:
        raise NotFound(f"{path} cannot be read: {problem.strerror}.", "Check the name.") from None


COMMANDS = (verify,)
