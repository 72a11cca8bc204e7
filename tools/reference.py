"""Writes docs/reference/cli.md and docs/reference/settings.md from the code.

Usage: python tools/reference.py [--check]     (--check writes nothing, exits 1 if one is old)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from casemate.cli.main import casemate
from casemate.settings import VARIABLES, Settings, describe

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
_MADE = "<!-- Made by tools/reference.py; do not edit. -->\n\n"
_WIDTH = 80


def cli() -> str:
    """Every command, as its ``--help`` prints it."""
    lines = [
        f"{_MADE}# Commands\n",
        "Exit status: 0 when all is well; 1 when refused or failed, with one line on standard",
        "error that says what is wrong and what to do; 2 for wrong usage. `--json` prints what a",
        "program can read. `--data` may stand before or after a command's name. While",
        "`casemate up` runs on a data folder, the other commands reach it through a socket in",
        "that folder and behave the same.\n",
    ]
    for name, text in _helps(casemate, "casemate", None):
        lines += [f"{'#' * min(1 + len(name.split()), 3)} `{name}`\n", f"```text\n{text}\n```\n"]
    return "\n".join(lines)


def settings() -> str:
    """Every setting, as ``casemate settings`` knows it."""
    lines = [
        f"{_MADE}# Settings\n",
        "Each setting has a default, and may be set in `settings.toml` in the data folder, by a",
        "variable of the environment, or, some of them, by an option of a command; the later wins.",
        "A value that is out of bounds is refused at start, and so is an unknown name in",
        "`settings.toml` or an unknown variable that begins with `CASEMATE_`. `casemate settings`",
        "shows the values in force.\n",
        "| `settings.toml` | variable | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for one in describe(Settings()):
        value = str(one.default).lower() if isinstance(one.default, bool) else one.default
        shown = f"`{value}`" if value != "" else "empty"
        lines.append(f"| `{one.name}` | `{one.variable}` | {shown} | {one.description} |")
    lines += [
        "\nThese variables are no settings, and stand in no file:\n",
        "| variable | meaning |",
        "| --- | --- |",
        *(f"| `{one.name}` | {one.description} |" for one in VARIABLES),
    ]
    return "\n".join(lines) + "\n"


def _helps(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[tuple[str, str]]:
    context = click.Context(
        command,
        info_name=name.rpartition(" ")[2],
        parent=parent,
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )
    yield name, command.get_help(context)
    if isinstance(command, click.Group):
        for under in command.list_commands(context):
            found = command.get_command(context, under)
            if found is not None and not found.hidden:
                yield from _helps(found, f"{name} {under}", context)


PAGES = {"cli.md": cli, "settings.md": settings}


def main() -> int:
    """Write the pages, or compare them."""
    old = []
    for name, make in PAGES.items():
        path, text = REFERENCE / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            old.append(name)
            if "--check" not in sys.argv[1:]:
                REFERENCE.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    if old and "--check" in sys.argv[1:]:
        print(f"Old: {', '.join(old)}. Run tools/reference.py.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
