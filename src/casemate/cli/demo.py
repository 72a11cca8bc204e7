"""The command demo: the main job on the shipped, fictional corpus, end to end."""

from __future__ import annotations

import asyncio
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from casemate.cli import line, questions, show
from casemate.errors import CasemateError

if TYPE_CHECKING:
    from casemate.lab.score import Outcome
    from casemate.reasoning.event import Event, Request

COLLECTION = "demo"
_SHOWN = ("de", "fr", "en", "lb")
# Chosen to show the way: plain ones, one of two parts, and one that nothing answers.
_SHOWN_QUESTIONS = ("de-05", "de-17", "fr-04", "en-11", "lb-16", "lb-22")


@click.command()
@click.option("--data", "folder", type=click.Path(path_type=Path), help="Keep the result here.")
@click.option("--score", is_flag=True, help="Print scores over all demo questions instead.")
@click.option("--language", "languages", multiple=True, type=click.Choice(_SHOWN))
@show.json_option
def demo(folder: Path | None, score: bool, languages: tuple[str, ...], as_json: bool) -> None:
    """Import the shipped fictional corpus, ask, cite, and verify the receipts offline."""
    with _folder(folder) as data, resources.as_file(resources.files("casemate.demo")) as shipped:
        _import(data, shipped / "corpus", quiet=as_json)
        raw = (shipped / "questions.toml").read_bytes()
        if score:
            _score(data, raw, languages or _SHOWN, as_json=as_json)
            return
        asked = list(_chosen(raw, languages or _SHOWN))
        _ask_and_verify(data, asked, kept=folder is not None)
        _farewell(data, kept=folder is not None)


@contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="casemate-demo-") as temporary:
        yield Path(temporary) / "data"


def _import(data: Path, corpus: Path, *, quiet: bool) -> None:
    files = [
        (str(path), path.relative_to(corpus).as_posix())
        for path in sorted(corpus.rglob("*"))
        if path.is_file()
    ]
    outcomes = line.act(data, "add", {"files": files, "collection": COLLECTION}, create=True)
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


def _chosen(raw: bytes, languages: Sequence[str]) -> Iterator[str]:
    """The questions that are shown, of these languages."""
    from casemate.lab import score

    every = {one.id: one for one in score.questions(raw)}
    return (every[id].text for id in _SHOWN_QUESTIONS if every[id].language in languages)


def _ask_and_verify(data: Path, asked: Sequence[str], *, kept: bool) -> None:
    from casemate.ledger.verify import verify

    for question in asked:
        click.echo()
        click.secho(question, bold=True)
        events = line.act(data, "ask", {"question": question, "collections": [COLLECTION]})
        finished, proof = questions.answered(events)
        questions.report(finished, proof, kept=kept)
        verdict = verify(
            proof["receipt"].encode(), proof["vkey"], finished["answer"]["text"].encode()
        )
        click.echo(show.wrapped("; ".join(verdict.proven), "          ", "Verified: "))
    click.echo(show.wrapped("; ".join(verdict.not_proven), "            ", "Not proven: "))


def _farewell(data: Path, *, kept: bool) -> None:
    (state,) = line.act(data, "ledger.check", {})
    click.echo()
    click.echo(f"The ledger holds {state['entries']:,} entries, every byte as signed.")
    click.echo()
    if not kept:
        click.echo("Nothing of this is kept; with --data FOLDER it is.")
    click.echo("The engine that needs no model quotes the right words for about half of the demo's")
    click.echo("questions; `casemate demo --score` says how well it does, and on what.")
    click.echo()
    where = f" --data {shlex.quote(str(data))}" if kept else ""
    click.echo("Now with your own documents:")
    click.echo(f"  casemate add ~/docs --collection notes{where}")
    click.echo(f'  casemate ask "…" --collection notes{where}')
    click.echo(f"  casemate up{where}      then open the sign-in link that it prints")
    click.echo("From a checkout, write ./dev instead of casemate.")


def _score(data: Path, raw: bytes, languages: Sequence[str], *, as_json: bool) -> None:
    from casemate.installation import Installation
    from casemate.lab import score

    asked = [one for one in score.questions(raw) if one.language in languages]
    with Installation.open(data, create=False) as installation:
        outcomes = asyncio.run(_outcomes(installation, asked))
    found: dict[str, Any] = {
        "all": score.scores(outcomes),
        **{
            split: score.scores([one for one in outcomes if one.question.split == split])
            for split in ("tuning", "held-out")
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


async def _outcomes(installation: Any, asked: Sequence[Any]) -> list[Outcome]:
    from casemate.lab import score

    caller = installation.gate.owner()
    texts: dict[str, str] = {}

    def text(document: str) -> str:
        if document not in texts:
            texts[document] = installation.library.text(caller, document)
        return texts[document]

    async def ask(request: Request) -> AsyncIterator[Event]:
        async for event in installation.ask(caller, request):
            yield event

    return [
        await score.outcome_of(
            question,
            search=lambda query: installation.library.search(caller, query, limit=30),
            ask=ask,
            text=text,
        )
        for question in asked
    ]


def _percent(values: dict[str, Any]) -> dict[str, str]:
    return {
        name: "–" if value is None else f"{value:.1%}" if isinstance(value, float) else str(value)
        for name, value in values.items()
    }


COMMANDS = (demo,)
