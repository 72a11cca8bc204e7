"""Commands on what is recorded and how things stand: verify, status, settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from casemate.cli import line, show
from casemate.cli.ledger import ledger
from casemate.errors import Invalid, NotFound


@click.command()
@click.argument("receipt", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), help="The log's vkey line.")
@click.option("--answer", type=click.Path(path_type=Path), help="The answer's text, to compare.")
@show.json_option
def verify(receipt: Path, key: Path, answer: Path | None, as_json: bool) -> None:
    """Check a receipt offline; say what is proven and what is not."""
    from casemate.ledger import verify as verifier

    raw, line_of_key = _read(receipt), _read(key)
    text = None if answer is None else _read(answer)
    try:
        vkey = line_of_key.decode()
        verdict = verifier.verify(raw, vkey.removesuffix("\n"), text)
    except UnicodeDecodeError:
        raise Invalid("Not proven: key: it is not text.", "Ask for the log's vkey line.") from None
    except verifier.Unproven as problem:
        if as_json:
            show.json({"proven": False, "part": problem.part, "reason": problem.reason})
            raise click.exceptions.Exit(1) from None
        raise Invalid(
            f"Not proven: {problem.part}: {problem.reason}.",
            "Do not rely on it; ask for it again.",
        ) from None
    if as_json:
        show.json(
            {
                "proven": list(verdict.proven),
                "not_proven": list(verdict.not_proven),
                "facts": verdict.facts,
            }
        )
        return
    if "question" in verdict.facts:
        click.echo(show.wrapped(verdict.facts["question"], "            ", "Question:   "))
    if "answer" in verdict.facts:
        compared = "" if text is not None else " (compared with no file)"
        click.echo(show.wrapped(verdict.facts["answer"] + compared, "            ", "Answer:     "))
    for fact in verdict.proven:
        click.echo(show.wrapped(fact, "            ", "Proven:     "))
    for fact in verdict.not_proven:
        click.echo(show.wrapped(fact, "            ", "Not proven: "))


@click.command()
@show.data_option
@show.json_option
@click.pass_obj
def status(obj: dict[str, Any], as_json: bool) -> None:
    """Say how things stand."""
    (found,) = line.act(obj["data"], "status", {})
    show.one(found, as_json=as_json)


@click.command()
@show.data_option
@show.json_option
@click.pass_obj
def settings(obj: dict[str, Any], as_json: bool) -> None:
    """List every setting, its variable, value and meaning."""
    from casemate import settings as settings_

    chosen = settings_.load(obj["data"])
    rows = [
        {
            "name": one.name,
            "variable": one.variable,
            "value": one.value,
            "default": one.default,
            "meaning": one.description,
        }
        for one in settings_.describe(chosen)
    ]
    # Their values are not shown: keys are among them.
    rows += [
        {
            "name": None,
            "variable": one.name,
            "value": None,
            "default": None,
            "meaning": one.description,
        }
        for one in settings_.VARIABLES
    ]
    show.items(
        rows, ("name", "variable", "value", "meaning"), as_json=as_json, empty="No settings."
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise NotFound(f"{path} cannot be read: {problem.strerror}.", "Check the name.") from None


COMMANDS = (verify, ledger, status, settings)
