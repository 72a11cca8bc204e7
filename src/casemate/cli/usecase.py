"""Commands around use cases, the purposes for which AI may be used: usecase."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from casemate.cli import line, show
from casemate.cli.acts import Item
from casemate.errors import Invalid

F = TypeVar("F", bound=Callable[..., Any])

_COLUMNS = ("id", "state", "risk", "models", "collections", "ceiling", "oversight", "purpose")


@click.group()
def usecase() -> None:
    """Use cases: register, change, approve, suspend, retire, list, show, history, questions."""


@usecase.command("list")
@show.data_option
@show.principal_option
@show.json_option
@click.pass_obj
def usecase_list(obj: dict[str, Any], principal: str | None, as_json: bool) -> None:
    """List use cases."""
    found = line.act(obj["data"], "usecase.list", {"principal": principal})
    rows = found if as_json else map(_in_words, found)
    show.items(rows, _COLUMNS, as_json=as_json, empty="No use cases.")


@usecase.command("show")
@show.data_option
@click.argument("id")
@show.principal_option
@show.json_option
@click.pass_obj
def usecase_show(obj: dict[str, Any], id: str, principal: str | None, as_json: bool) -> None:
    """Show one use case."""
    _show(line.act(obj["data"], "usecase.show", {"id": id, "principal": principal}), as_json)


@usecase.command("history")
@show.data_option
@click.argument("id")
@show.principal_option
@show.json_option
@click.pass_obj
def usecase_history(obj: dict[str, Any], id: str, principal: str | None, as_json: bool) -> None:
    """Show its versions, the answers of their screening, and who decided what and why."""
    found = list(line.act(obj["data"], "usecase.history", {"id": id, "principal": principal}))
    if as_json:
        show.json(found)
        return
    for item in found:
        click.echo(f"{item['time']}  version {item['version']}  {item['state']}, by {item['by']}")
        if item.get("reason"):
            click.echo(show.wrapped(item["reason"], "    "))
        for question, reason in item.get("answers", {}).items():
            click.echo(show.wrapped(f"{question}: no. {reason}", "    "))
        if item.get("unanswered"):
            click.echo(f"    not answered: {', '.join(item['unanswered'])}")


@usecase.command("questions")
@show.data_option
@click.option("--language", help="lb, fr, de or en (default: en).")
@show.json_option
@click.pass_obj
def usecase_questions(obj: dict[str, Any], language: str | None, as_json: bool) -> None:
    """Show the questions about prohibited practices (AI Act, Article 5)."""
    found = list(line.act(obj["data"], "usecase.questions", {"language": language}))
    if as_json:
        show.json(found)
        return
    for item in found:
        since = "" if item["applies"] else f", from {item['from']}"
        click.echo(f"{item['id']} (Article {item['article']}{since})")
        click.echo(show.wrapped(item["text"], "    "))


def _terms_options(command: F) -> F:
    options: tuple[Callable[[Any], Any], ...] = (
        click.option("--model", "models", multiple=True, help="Repeatable (default: quote)."),
        click.option(
            "--collection", "collections", multiple=True, help="Repeatable (default: all)."
        ),
        click.option("--ceiling", help="The highest label it may use (default: the lowest)."),
        click.option(
            "--hours", help="When it may be used, e.g. “mon-fri 08:00-18:00” (default: always)."
        ),
        click.option(
            "--quota", "quotas", multiple=True, help="E.g. tokens/day=200000; repeatable."
        ),
        click.option(
            "--answers",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help="TOML file: answers to `usecase questions`.",
        ),
        click.option(
            "--not-prohibited",
            metavar="REASON",
            help="Answer no to every one of `usecase questions`, for this reason.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@usecase.command("register")
@show.data_option
@click.argument("id")
@click.option("--purpose", required=True)
@click.option("--legal-basis", required=True)
@click.option("--risk", type=click.Choice(["minimal", "limited", "high"]), required=True)
@click.option(
    "--oversight",
    type=click.Choice(["none", "after"]),
    default="after",
    show_default=True,
    help="after: people may review its runs; nothing is held back until they do.",
)
@click.option("--retention-days", type=click.IntRange(183, 36500), default=183, show_default=True)
@click.option("--owner", help="Who answers for it (default: who registers it).")
@_terms_options
@show.principal_option
@show.json_option
@click.pass_obj
def usecase_register(
    obj: dict[str, Any], /, answers: Path | None, as_json: bool, **arguments: Any
) -> None:
    """Register a draft, for a second person to approve.

    Whether it is a prohibited practice is asked at the terminal, unless --answers or
    --not-prohibited says it.
    """
    known = _answers(answers)
    if known is None and not arguments["not_prohibited"] and sys.stdin.isatty():
        known = _asked(obj)
    _show(line.act(obj["data"], "usecase.register", arguments | {"answers": known}), as_json)


@usecase.command("change")
@show.data_option
@click.argument("id")
@click.option("--purpose")
@click.option("--legal-basis")
@click.option("--risk", type=click.Choice(["minimal", "limited", "high"]))
@click.option("--oversight", type=click.Choice(["none", "after"]))
@click.option("--retention-days", type=click.IntRange(183, 36500))
@click.option("--all-collections", is_flag=True, help="Every collection the asker may read.")
@_terms_options
@show.principal_option
@show.json_option
@click.pass_obj
def usecase_change(
    obj: dict[str, Any], /, answers: Path | None, as_json: bool, **arguments: Any
) -> None:
    """Propose a change, for a second person to approve; what you do not name stays.

    “--hours always” takes opening hours away.
    """
    named = arguments | {"answers": _answers(answers)}
    _show(line.act(obj["data"], "usecase.change", named), as_json)


@usecase.command("approve")
@show.data_option
@click.argument("id")
@click.option("--reason", help="Why.")
@click.option("--version", type=int, help="The version that you have looked at.")
@show.principal_option
@show.json_option
@click.pass_obj
def usecase_approve(obj: dict[str, Any], /, as_json: bool, **arguments: Any) -> None:
    """Approve a draft or a change, as a second person."""
    _show(line.act(obj["data"], "usecase.approve", arguments), as_json)


def _end(verb: str, help: str) -> None:
    @usecase.command(verb, help=help)
    @show.data_option
    @click.argument("id")
    @click.option("--reason", required=True, help="Why.")
    @show.principal_option
    @show.json_option
    @click.pass_obj
    def end(obj: dict[str, Any], /, as_json: bool, **arguments: Any) -> None:
        _show(line.act(obj["data"], f"usecase.{verb}", arguments), as_json)


for _verb, _help in (
    ("suspend", "Suspend an approved use case; it can be approved again."),
    ("retire", "Retire a use case for good."),
    ("withdraw", "Take a proposed change back; what is in force stays."),
):
    _end(_verb, _help)


def _show(found: Any, as_json: bool) -> None:
    (item,) = found
    show.one(item if as_json else _in_words(item), as_json=as_json)


def _in_words(use_case: Item) -> Item:
    """A use case with its collections as people read them: all, or names, and how many more."""
    shown = dict(use_case)
    hidden = shown.pop("collections_hidden")
    if shown["collections"] is None:
        shown["collections"] = "all"
    elif hidden:
        shown["collections"] = [*shown["collections"], f"{hidden} that you may not see"]
    for name in ("pending", "hours", "quota"):
        if not shown[name]:
            del shown[name]
    return shown


def _answers(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise Invalid(f"{file.name} is not TOML: {problem}.", "Correct it.") from None


def _asked(obj: dict[str, Any]) -> dict[str, Any]:
    answers = {}
    for item in line.act(obj["data"], "usecase.questions", {}):
        if not item["applies"]:
            continue
        click.echo(f"Article {item['article']}: {item['text']}")
        answer = click.prompt("yes or no", type=click.Choice(["yes", "no"]))
        reason = click.prompt("Why") if answer == "no" else ""
        answers[item["id"]] = {"answer": answer, "reason": reason}
    return answers


COMMANDS = (usecase,)
