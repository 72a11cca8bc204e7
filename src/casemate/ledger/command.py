"""The verifier's own command line: the same words and exit codes as ``casemate verify``.

Exit 0 if all is proven, 1 if anything is not, 2 on wrong usage. Part of the verifier.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TextIO

from casemate.ledger.folder import LARGEST, Outcome, check, count, read
from casemate.ledger.verdict import Verdict, plain
from casemate.ledger.verify import Unproven, Verifying

_EVERY = 100  # receipts between two looks of the progress bar
_WIDTH = 30


def main(argv: Sequence[str] | None = None) -> int:
    """Check what the arguments say. Returns the exit code."""
    parser = _parser()
    try:
        chosen = parser.parse_args(argv)
        if chosen.answer and _several(chosen.receipt):
            parser.error("--answer goes with one receipt")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    try:
        verifying = Verifying(
            key_text(read(chosen.key), "key"),
            [key_text(read(path), "witnesses") for path in chosen.witness],
            chosen.witnesses_needed,
        )
        if _several(chosen.receipt):
            return report(chosen.receipt, verifying, as_json=chosen.json)
        answer = read(chosen.answer) if chosen.answer else None
        verdict = verifying.verify(read(chosen.receipt[0]), answer)
    except Unproven as problem:
        if chosen.json:
            _say(_json({"proven": False, "part": problem.part, "reason": problem.reason}))
        else:
            _say(plain(f"Not proven. {problem}"), sys.stderr)
        return 1
    except OSError as problem:
        _say(plain(f"Cannot read {problem.filename}: {problem.strerror}"), sys.stderr)
        return 1
    _say(_json(vars(verdict), indent=2) if chosen.json else in_words(verdict))
    return 0


def in_words(verdict: Verdict) -> str:
    """A verdict as lines of text."""
    proven = "".join(f"\n  {line}" for line in verdict.proven)
    not_proven = "".join(f"\n  {line}" for line in verdict.not_proven)
    return f"Proven:{proven}\nNot proven:{not_proven}"


def key_text(raw: bytes, part: str) -> str:
    """The text of a key file. Raises Unproven, naming ``part``, if it is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Unproven(part, "the key file is not UTF-8") from None


def report(paths: Sequence[Path], verifying: Verifying, *, as_json: bool) -> int:
    """Check many receipts and say what became of them. Returns the exit code.

    In words: one line for each that fails, and a summary. As JSON: one line for each receipt
    (``receipt``, ``proven``, and ``part`` and ``reason`` if it fails), and a last line with the
    numbers of ``receipts``, ``proven`` and ``failed``. A progress bar if stderr is a terminal.
    """
    show, clear = _progress(paths)
    seen = failed = 0
    for outcome in check(paths, verifying):
        seen += 1
        failed += outcome.part is not None
        if as_json or outcome.part is not None:
            clear()
            _say(_json(_outcome(outcome)) if as_json else _line(outcome))
        show(seen)
    clear()
    if as_json:
        _say(_json({"receipts": seen, "proven": seen - failed, "failed": failed}))
    elif not seen:
        _say("No receipt was found: in folders, their names end in .json.", sys.stderr)
    else:
        counted = "1 receipt" if seen == 1 else f"{seen:,} receipts"
        _say(f"{counted}: {seen - failed:,} proven, {failed:,} not proven.")
    return 1 if failed or not seen else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="casemate-verify",
        description="Check receipts, offline; say what is proven and what is not.",
        epilog=f"A receipt of more than {LARGEST:,} bytes is not read.",
    )
    add = parser.add_argument
    add("receipt", nargs="+", metavar="RECEIPT", type=Path, help="a receipt, or a folder of them")
    add("--key", required=True, type=Path, metavar="FILE", help="the log's verifying key")
    add("--answer", type=Path, metavar="FILE", help="the answer's text, to compare")
    add(
        "--witness",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="the verifying key of a witness; can be repeated",
    )
    add(
        "--witnesses-needed",
        type=int,
        metavar="N",
        help="how many witnesses must have cosigned (default: all that are named)",
    )
    add("--json", action="store_true", help="print JSON; for many receipts, one line each")
    return parser


def _several(paths: Sequence[Path]) -> bool:
    return len(paths) > 1 or paths[0].is_dir()


def _outcome(outcome: Outcome) -> dict[str, object]:
    told: dict[str, object] = {
        "receipt": _os_text(outcome.path),
        "proven": outcome.part is None,
    }
    if outcome.part is not None:
        told |= {"part": outcome.part, "reason": outcome.reason}
    return told


def _line(outcome: Outcome) -> str:
    return plain(f"{_os_text(outcome.path)}: {outcome.part}: {outcome.reason}")


def _os_text(path: Path) -> str:
    # bytes that are no UTF-8 become their escapes
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=True, indent=indent)


def _progress(paths: Iterable[Path]) -> tuple[Callable[[int], None], Callable[[], None]]:
    if not sys.stderr.isatty():
        return (lambda _seen: None), (lambda: None)
    whole = max(count(paths), 1)

    def show(seen: int) -> None:
        if seen % _EVERY == 0:
            done = min(seen, whole) * _WIDTH // whole
            bar = "#" * done + "-" * (_WIDTH - done)
            print(f"\r[{bar}] {seen:,} of {whole:,}", end="", file=sys.stderr, flush=True)

    def clear() -> None:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    return show, clear


def _say(text: str, stream: TextIO | None = None) -> None:
    # a terminal that cannot show a letter gets its number instead of a traceback
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


if __name__ == "__main__":
    sys.exit(main())
