"""The command demo: the main job on the shipped, fictional corpus, end to end.

With ``--model nano`` it shows a model that thinks, on the part of the corpus whose language that
small model was trained to read.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from casemate.cli import line, questions, show
from casemate.errors import CasemateError, Invalid

if TYPE_CHECKING:
    from casemate.lab.score import Outcome
    from casemate.reasoning.event import Event, Request

_SHOWN = ("de", "fr", "en", "lb")


@dataclass(frozen=True)
class _Show:
    """What is shown of one model: documents, questions with known answers, and which to pick."""

    model: str
    documents: str
    questions: str
    collection: str
    use_case: str
    picked: tuple[str, ...]
    languages: tuple[str, ...]


_SHOWS = {
    "quote": _Show(
        "quote",
        "corpus",
        "questions.toml",
        "demo",
        "documents",
        # Chosen to show the way: plain ones, one of two parts, and one that nothing answers.
        ("de-05", "de-17", "fr-04", "en-11", "lb-16", "lb-22"),
        _SHOWN,
    ),
    "nano": _Show(
        "nano",
        "registers/documents",
        "registers/questions.toml",
        "registers",
        "registers",
        # One of several kinds, one whose note lacks the fact, one without a note.
        (
            "register-en-001",
            "register-en-007",
            "register-en-010",
            "register-en-081",
            "register-en-107",
        ),
        ("en",),
    ),
}
_SECOND = "second-person"  # who approves in the demo what its owner proposes


@click.command()
@click.option("--data", "folder", type=click.Path(path_type=Path), help="Keep the result here.")
@click.option("--score", is_flag=True, help="Print scores over all demo questions instead.")
@click.option("--language", "languages", multiple=True, type=click.Choice(_SHOWN))
@click.option(
    "--model",
    type=click.Choice(list(_SHOWS)),
    default="quote",
    show_default=True,
    help="nano: a small model that thinks, on register notes in the language it can read.",
)
@show.json_option
def demo(
    folder: Path | None, score: bool, languages: tuple[str, ...], model: str, as_json: bool
) -> None:
    """Import the shipped fictional corpus, ask, cite, and verify the receipts offline."""
    shown = _SHOWS[model]
    spoken = languages or shown.languages
    if not set(spoken) <= set(shown.languages):
        raise Invalid(
            f"The demo of {model} has no questions in some of these languages.",
            f"It has: {', '.join(shown.languages)}.",
        )
    with _folder(folder) as data, resources.as_file(resources.files("casemate.demo")) as shipped:
        _import(data, shipped / shown.documents, shown, quiet=as_json)
        if model != "quote":
            _bring(data, shown, quiet=as_json)
        raw = (shipped / shown.questions).read_bytes()
        if score:
            _score(data, raw, shown, spoken, as_json=as_json)
            return
        _ask_and_verify(data, list(_chosen(raw, shown, spoken)), shown, kept=folder is not None)
        _farewell(data, shown, kept=folder is not None)


@contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="casemate-demo-") as temporary:
        yield Path(temporary) / "data"


def _import(data: Path, corpus: Path, shown: _Show, *, quiet: bool) -> None:
    files = [
        (str(path), path.relative_to(corpus).as_posix())
        for path in sorted(corpus.rglob("*"))
        if path.is_file()
    ]
    outcomes = line.act(data, "add", {"files": files, "collection": shown.collection}, create=True)
    if quiet or not sys.stderr.isatty():
        done = list(outcomes)
    else:
        with click.progressbar(
            outcomes, length=len(files), label="Reading", file=sys.stderr
        ) as bar:
            done = list(bar)
    unread = [one for one in done if one["outcome"] == "unread"]
    if unread:
        raise CasemateError(f"{unread[0]['name']}: {unread[0]['what']}", unread[0]["next"])
    if not quiet:
        click.echo(f"Read {len(done)} fictional documents of a commune that does not exist.")
        click.echo("The questions are picked to show the way; --score measures all of them.")


def _bring(data: Path, shown: _Show, *, quiet: bool) -> None:
    """Import the model that comes with Casemate and let a use case have it: two persons' work."""
    there = {one["id"] for one in line.act(data, "model.list", {})}
    if shown.model not in there:
        list(line.act(data, "user.create", {"name": _SECOND, "roles": ["admin"]}))
        list(line.act(data, "model.import", {"folder": shown.model}))
        list(line.act(data, "model.approve", {"id": shown.model, "principal": _SECOND}))
        use_case = {
            "id": shown.use_case,
            "purpose": "To show a model that thinks, on fictional register notes.",
            "legal_basis": "None: a demonstration on invented documents.",
            "risk": "minimal",
            "models": [shown.model],
            "oversight": "none",
            "retention_days": 183,
            "not_prohibited": "A demonstration on invented documents; nobody is judged.",
        }
        list(line.act(data, "usecase.register", use_case))
        list(line.act(data, "usecase.approve", {"id": shown.use_case, "principal": _SECOND}))
    if not quiet:
        click.echo("The model nano was imported, its signature checked, and approved by a second")
        click.echo("person. It reads these register notes and nothing else; for real questions")
        click.echo("there is `quote`, until a real model is installed.")


def _chosen(raw: bytes, shown: _Show, languages: Sequence[str]) -> Iterator[str]:
    """The questions that are shown, of these languages."""
    from casemate.lab import score

    every = {one.id: one for one in score.questions(raw)}
    return (every[id].text for id in shown.picked if every[id].language in languages)


def _ask_and_verify(data: Path, asked: Sequence[str], shown: _Show, *, kept: bool) -> None:
    from casemate.ledger.verify import verify

    for question in asked:
        click.echo()
        click.secho(question, bold=True)
        arguments = {
            "question": question,
            "collections": [shown.collection],
            "use_case": shown.use_case,
        }
        events = line.act(data, "ask", arguments)
        finished, proof = questions.answered(events)
        questions.report(finished, proof, kept=kept)
        verdict = verify(
            proof["receipt"].encode(), proof["vkey"], finished["answer"]["text"].encode()
        )
        click.echo(show.wrapped("; ".join(verdict.proven), "          ", "Verified: "))
    click.echo(show.wrapped("; ".join(verdict.not_proven), "            ", "Not proven: "))


def _farewell(data: Path, shown: _Show, *, kept: bool) -> None:
    (state,) = line.act(data, "ledger.check", {})
    click.echo()
    click.echo(f"The ledger holds {state['entries']:,} entries, every byte as signed.")
    click.echo()
    if not kept:
        click.echo("Nothing of this is kept; with --data FOLDER it is.")
    if shown.model == "quote":
        click.echo("The engine that needs no model quotes the right words for about half of the")
        click.echo("demo's questions; `casemate demo --score` says how well it does, and on what.")
    else:
        click.echo(
            "`casemate demo --model nano --score` says how well the model does, and on what."
        )
    click.echo()
    where = f" --data {shlex.quote(str(data))}" if kept else ""
    click.echo("Now with your own documents:")
    click.echo(f"  casemate add ~/docs --collection notes{where}")
    click.echo(f'  casemate ask "…" --collection notes{where}')
    click.echo(f"  casemate up{where}      then open the sign-in link that it prints")
    click.echo("From a checkout, write ./dev instead of casemate.")


def _score(
    data: Path, raw: bytes, shown: _Show, languages: Sequence[str], *, as_json: bool
) -> None:
    from casemate.installation import Installation
    from casemate.lab import score

    asked = [one for one in score.questions(raw) if one.language in languages]
    with Installation.open(data, create=False) as installation:
        outcomes = asyncio.run(_outcomes(installation, asked, shown))
    found: dict[str, Any] = {
        "all": score.scores(outcomes),
        **{
            split: score.scores([one for one in outcomes if one.question.split == split])
            for split in dict.fromkeys(one.split for one in asked)
        },
        **{
            language: score.scores([one for one in outcomes if one.question.language == language])
            for language in languages
        },
    }
    if as_json:
        show.json({"scores": found, "outcomes": outcomes})
        return
    rows = [{"set": name, **_percent(msgspec.to_builtins(one))} for name, one in found.items()]
    show.table(rows, list(rows[0]))


async def _outcomes(installation: Any, asked: Sequence[Any], shown: _Show) -> list[Outcome]:
    from casemate.lab import score

    caller = installation.gate.owner()
    texts: dict[str, str] = {}

    def text(document: str) -> str:
        if document not in texts:
            texts[document] = installation.library.text(caller, document)
        return texts[document]

    async def ask(request: Request) -> AsyncIterator[Event]:
        request = msgspec.structs.replace(
            request, use_case=shown.use_case, collections=(shown.collection,)
        )
        async for event in installation.ask(caller, request):
            yield event

    try:
        return [
            await score.outcome_of(
                question,
                search=lambda query: installation.library.search(caller, query, limit=30),
                ask=ask,
                text=text,
            )
            for question in asked
        ]
    finally:
        await installation.engines.close()


def _percent(values: dict[str, Any]) -> dict[str, str]:
    return {
        name: "–" if value is None else f"{value:.1%}" if isinstance(value, float) else str(value)
        for name, value in values.items()
    }


COMMANDS = (demo,)
