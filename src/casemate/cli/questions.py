"""Commands around questions: ask, search, explain, replay, run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from casemate.cli import line, show
from casemate.cli.acts import Item
from casemate.errors import Unavailable
from casemate.store.folder import disk_problem


@click.command()
@show.data_option
@click.argument("question")
@click.option("--collection", "collections", multiple=True, help="Only this one; repeatable.")
@click.option(
    "--label", help="Label of the question itself, e.g. restricted (default: the lowest)."
)
@click.option("--model", help="A model of the use case (default: its first).")
@click.option("--use-case", help="The registered purpose (default: documents).")
@click.option("--seed", type=int, help="Of a generating model: the same seed, the same answer.")
@click.option("--receipt", type=click.Path(path_type=Path), help="Write the receipt here.")
@click.option("--answer", type=click.Path(path_type=Path), help="Write the answer's text here.")
@show.principal_option
@show.json_option
@click.pass_obj
def ask(
    obj: dict[str, Any],
    question: str,
    collections: tuple[str, ...],
    label: str | None,
    model: str | None,
    use_case: str | None,
    seed: int | None,
    receipt: Path | None,
    answer: Path | None,
    principal: str | None,
    as_json: bool,
) -> None:
    """Ask a question; the answer cites the exact words it rests on."""
    arguments = {
        "question": question,
        "collections": collections,
        "label": label,
        "model": model,
        "use_case": use_case,
        "seed": seed,
        "principal": principal,
    }
    finished, proof = answered(line.act(obj["data"], "ask", arguments), quiet=as_json)
    if receipt is not None:
        _write(receipt, proof["receipt"])
    if answer is not None:
        _write(answer, finished["answer"]["text"])
    if as_json:
        show.json(finished)
        return
    report(finished, proof, receipt)


def answered(events: Iterable[Item], *, quiet: bool = False) -> tuple[Item, Item]:
    """Follow a run, showing steps and text as they come; its last event and its receipt."""
    finished: Item = {}
    proof: Item = {}
    screen = _Screen(quiet)
    for event in events:
        kind = event["type"]
        if kind == "finished":
            finished = event
        elif kind == "receipt":
            proof = event
        elif kind == "step_finished":
            screen.line(_step(event["step"]))
        elif kind == "waiting" and event["position"]:
            screen.line(f"waiting: number {event['position']} in the queue")
        elif kind in ("thinking", "text"):
            screen.stream(event["text"], dim=kind == "thinking")
    screen.end()
    if not finished or not proof:
        raise Unavailable("The run ended without an answer.", "Ask again.")
    if not quiet and not finished["answer"]["sources"]:
        click.echo("No passage was found. `casemate add PATH --collection NAME` adds documents.")
    return finished, proof


class _Screen:
    """Lines for steps, and text as it streams, each on lines of its own."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._streaming: bool | None = None  # dim or not; None between streams

    def line(self, text: str) -> None:
        if text and not self._quiet:
            self.end()
            click.secho(f"· {text}", dim=True)

    def stream(self, text: str, *, dim: bool) -> None:
        if self._quiet:
            return
        if self._streaming is not dim:
            if self._streaming is None:
                click.echo()
            self.end()
            text = text.lstrip()
        self._streaming = dim
        click.secho(text, dim=dim, nl=False)

    def end(self) -> None:
        if self._streaming is not None:
            click.echo("\n")
            self._streaming = None


_SUPPORT = {
    "none": "no source supports this",
    "words": "in the model’s own words, carried by its passage",
}


def report(
    finished: Mapping[str, Any],
    proof: Mapping[str, Any],
    file: Path | None = None,
    *,
    kept: bool = True,
) -> None:
    """Print citations and where the proof is, if it is ``kept``."""
    answer = finished["answer"]
    for citation in answer["citations"]:
        source = answer["sources"][citation["source"]]
        place = source["document"]
        if source["page"] is not None:
            place += f", page {source['page']}"
        quote = " ".join(citation["quote"].split())
        click.echo(show.wrapped(f"{place}: “{quote}”", "      ", f"  [{citation['number']}] "))
    wrote = any(step["kind"] == "write" for step in finished["steps"])
    if wrote and not answer["text"].strip():
        click.echo("The model thought, and wrote no answer.")
    # The engine that quotes says in words of its own only that nothing answers.
    for one in answer["sentences"] if answer["citations"] or wrote else ():
        if note := _SUPPORT.get(one["support"]):
            said = " ".join(answer["text"][one["start"] : one["end"]].split())
            click.echo(show.wrapped(f"{note}: “{said}”", "      ", "  "))
    origin = proof["vkey"].split("+", 1)[0]
    if answer["citations"]:
        click.echo()
    where = f"written to {file}" if file else f"casemate run receipt {finished['run']}"
    recorded = f"Recorded as entry {finished['entry']:,} of {origin}, label {finished['label']}."
    click.secho(f"{recorded} Receipt: {where}" if kept else recorded, dim=True)


@click.command()
@show.data_option
@click.argument("query")
@click.option("--collection", "collections", multiple=True, help="Only this one; repeatable.")
@click.option("--use-case", help="The registered purpose (default: documents).")
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True)
@show.principal_option
@show.json_option
@click.pass_obj
def search(
    obj: dict[str, Any],
    query: str,
    collections: tuple[str, ...],
    use_case: str | None,
    limit: int,
    principal: str | None,
    as_json: bool,
) -> None:
    """Find passages: document, page, span, score and why."""
    arguments = {
        "query": query,
        "collections": collections,
        "use_case": use_case,
        "limit": limit,
        "principal": principal,
    }
    found = list(line.act(obj["data"], "search", arguments))
    if as_json:
        show.json(found)
        return
    if not found:
        click.echo("Nothing found.")
    for number, hit in enumerate(found, 1):
        page = "" if hit["page"] is None else f", page {hit['page']}"
        click.secho(
            f"{number}. {hit['document']}{page}, characters {hit['start']}–{hit['end']} "
            f"({hit['collection']}; score {hit['score']:.2f}; {', '.join(hit['why']) or 'alike'})",
            bold=True,
        )
        click.echo(show.wrapped(" ".join(hit["text"].split()), "   "))


@click.command()
@show.data_option
@click.argument("run")
@show.principal_option
@show.json_option
@click.pass_obj
def explain(obj: dict[str, Any], run: str, principal: str | None, as_json: bool) -> None:
    """Say which passages each sentence of an answer depends on."""
    (found,) = line.act(obj["data"], "explain", {"run": run, "principal": principal})
    if as_json:
        show.json(found)
        return
    for sentence in found["sentences"]:
        click.echo(show.wrapped(" ".join(sentence["text"].split())))
        click.echo(show.wrapped(_dependence(sentence), "    "))
    click.echo(
        f"Asked again {found['ablations']} times with passages taken away. Of the sentences that "
        f"cite a passage, {_figure(found['necessity'])} are not said without it (necessity), and "
        f"{_figure(found['sufficiency'])} are said with it alone (sufficiency)."
    )


@click.command()
@show.data_option
@click.argument("run")
@show.principal_option
@show.json_option
@click.pass_obj
def replay(obj: dict[str, Any], run: str, principal: str | None, as_json: bool) -> None:
    """Run a run again from its record and say what, if anything, differs."""
    (found,) = line.act(obj["data"], "replay", {"run": run, "principal": principal})
    if as_json:
        show.json(found)
    elif found["same"]:
        click.echo(f"The same, character for character: {found['sentences']} sentences.")
    else:
        for difference in found["differences"]:
            click.echo(f"Differs: {difference}")
    if not found["same"]:
        raise click.exceptions.Exit(1)


@click.group()
def run() -> None:
    """Your runs: list, show, receipt, review."""


@run.command("list")
@show.data_option
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@show.principal_option
@show.json_option
@click.pass_obj
def run_list(obj: dict[str, Any], limit: int, principal: str | None, as_json: bool) -> None:
    """List your runs, newest first."""
    show.items(
        line.act(obj["data"], "run.list", {"limit": limit, "principal": principal}),
        ("id", "created", "use_case", "outcome", "finished_entry", "question"),
        as_json=as_json,
        empty="No runs yet. Ask with `casemate ask`.",
    )


@run.command("show")
@show.data_option
@click.argument("run")
@show.principal_option
@show.json_option
@click.pass_obj
def run_show(obj: dict[str, Any], run: str, principal: str | None, as_json: bool) -> None:
    """Show one run: question, steps, answer, citations."""
    (found,) = line.act(obj["data"], "run.show", {"run": run, "principal": principal})
    if as_json:
        show.json(found)
        return
    click.secho(found["question"], bold=True)
    for step in found["steps"]:
        text = _step(step)
        if text:
            click.secho(f"· {text}", dim=True)
    if found["answer"] is None:
        click.echo(f"Ended as {found['outcome']}, without an answer.")
        return
    click.echo(f"\n{found['answer']['text']}\n")
    for citation in found["answer"]["citations"]:
        source = found["answer"]["sources"][citation["source"]]
        page = "" if source["page"] is None else f", page {source['page']}"
        click.echo(
            show.wrapped(f"[{citation['number']}] {source['document']}{page}", "      ", "  ")
        )


@run.command("receipt")
@show.data_option
@click.argument("run")
@click.option("--output", type=click.Path(path_type=Path), help="Write it here (default: print).")
@show.principal_option
@click.pass_obj
def run_receipt(obj: dict[str, Any], run: str, output: Path | None, principal: str | None) -> None:
    """Print or write the receipt of a run."""
    (found,) = line.act(obj["data"], "run.receipt", {"run": run, "principal": principal})
    if output is None:
        click.echo(found["receipt"], nl=False)
    else:
        _write(output, found["receipt"])


@run.command("review")
@show.data_option
@click.argument("run")
@click.argument("decision", type=click.Choice(["approved", "rejected"]))
@click.option("--reason", required=True, help="Why, in a sentence.")
@show.principal_option
@show.json_option
@click.pass_obj
def run_review(
    obj: dict[str, Any],
    run: str,
    decision: str,
    reason: str,
    principal: str | None,
    as_json: bool,
) -> None:
    """Record a person's decision on a run."""
    arguments = {"run": run, "decision": decision, "reason": reason, "principal": principal}
    (made,) = line.act(obj["data"], "run.review", arguments)
    show.one(made, as_json=as_json)


def _step(step: Mapping[str, Any]) -> str:
    if step["kind"] == "search":
        documents = {place.split(", page ")[0] for place in step["found"]}
        return (
            f"searched for “{step['subject']}”: {_count(step['count'], 'passage')} "
            f"of {_count(len(documents), 'document')}"
        )
    if step["kind"] in ("quote", "write"):
        return ""
    if step["kind"] == "verify":
        checked = _count(step["count"], "quotation")
        return f"checked {checked}, word for word" if step["count"] else ""
    if step["kind"] == "think":
        return ""
    if step["kind"] == "tool":
        return f"called “{step['subject']}”, which is no tool here"
    if step["kind"] == "limit":
        return f"stopped by a limit: {step['subject']}"
    return f"{step['kind']} {step['subject']}".strip()


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.0%}"


def _dependence(sentence: Mapping[str, Any]) -> str:
    if not sentence["cites"]:
        return "rests on no passage"
    cites = ", ".join(sentence["cites"])
    if not sentence["gone_without"]:
        return f"cites {cites}; is said without it too"
    return f"cites {cites}; is not said without {', '.join(sentence['gone_without'])}"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as problem:
        raise disk_problem(problem) from problem


COMMANDS = (ask, search, explain, replay, run)
