"""Measuring: does it cite the right sentence, and say "nothing answers" when nothing does?

``python -m nano.evaluate GGUF TEKKEN REPORT`` decodes greedily with llama.cpp, as Casemate does.
Every service and family name in it is one that training never showed.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import xllamacpp

from nano.language import LANGUAGES, Task, Writer, solved, words
from nano.registers import Register, demo, register
from nano.search import Search
from nano.tokenizer import Tokenizer

_SEED = 500
_MOST = 1  # what its profile says: one passage at a time


class Reader:
    """The exported model in llama.cpp, greedy."""

    def __init__(self, weights: Path, tekken: Path, *, threads: int = 1) -> None:
        self._tokenizer = Tokenizer.load(tekken)
        wanted = xllamacpp.CommonParams()
        wanted.model.path = str(weights)
        wanted.n_ctx, wanted.n_parallel, wanted.warmup = 1024, 1, False
        wanted.n_gpu_layers, wanted.fit_params, wanted.cache_ram_mib = 0, False, 0
        wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = threads
        wanted.verbosity = 0
        self._server = xllamacpp.Server(wanted)

    def read(self, user: str) -> tuple[str, str]:
        """Thinking and answer."""
        # With the opening of the thinking given, its end is the only control token to look for.
        ids = self._written([*self._tokenizer.prompt(user), 34])
        if 35 not in ids:
            return self._tokenizer.decode(ids), ""
        cut = ids.index(35)
        answer = self._tokenizer.decode(ids[cut + 1 :])
        return self._tokenizer.decode(ids[:cut]), answer.removesuffix("</s>")

    def _written(self, prompt: list[int]) -> list[int]:
        done = self._server.handle_completions(
            {"prompt": prompt, "temperature": 0, "n_predict": 256, "logprobs": 1}
        )
        return [one["id"] for one in done["choices"][0]["logprobs"]["content"]]


def drawn(language: str, count: int) -> Iterator[Task]:
    """Tasks whose passage is drawn: the right one, or one that resembles it."""
    writer = Writer(_SEED, held_out=True)
    for _ in range(count):
        yield writer.task((language,), (1,), (3, 3, 4, 4, 5), unanswerable=0.4)


def searched(registers: Iterable[Register], language: str) -> Iterator[Task]:
    """Questions of ``language`` with the best note of all ``registers``."""
    registers = list(registers)
    search = Search([note for one in registers for note in one.notes])
    for one in registers:
        for question in one.questions:
            if question.service.language == language:
                notes = search.best(question.text, _MOST)
                headed = [True] * len(notes)
                yield solved(notes, headed, question.service, question.attribute, question.text)


def measure(reader: Reader, tasks: Iterable[Task]) -> dict[str, dict[str, int]]:
    """Counts for each kind of task.

    right: the whole answer, to the letter. nothing: it said that nothing answers. thinking: every
    step is right too.
    """
    counts: dict[str, Counter[str]] = {}
    for task in tasks:
        thinking, answer = reader.read(task.user)
        kind = counts.setdefault(task.kind, Counter(count=0, right=0, nothing=0, thinking=0))
        kind["count"] += 1
        kind["right"] += answer == task.answer
        kind["nothing"] += answer == words(task.language)["nothing"]
        kind["thinking"] += thinking == task.thinking and answer == task.answer
    return {kind: dict(counts[kind]) for kind in sorted(counts)}


def report(weights: Path, tekken: Path) -> dict[str, Any]:
    """Everything that is measured."""
    reader, began = Reader(weights, tekken), time.monotonic()
    large = [
        register(language, _SEED + i, notes=50, found=3, silent=75, absent=75)
        for i, language in enumerate(LANGUAGES)
    ]
    settings = {
        "search": {one: measure(reader, searched(large, one)) for one in LANGUAGES},
        "demo": {one: measure(reader, searched(demo(), one)) for one in LANGUAGES},
        "drawn": {one: measure(reader, drawn(one, 300)) for one in LANGUAGES},
    }
    return {
        "model": "sha256:" + hashlib.sha256(weights.read_bytes()).hexdigest(),
        "decoding": "greedy, llama.cpp",
        "settings": {
            "search": "50 held-out notes; the best by BM25 (4-grams)",
            "demo": "the demo registers and their questions; the best by BM25 (4-grams)",
            "drawn": "one drawn passage: the right one, or one that resembles it",
        },
        "kinds": {
            "found": "a passage answers; right: its sentence verbatim and its number",
            "silent": "the note is there, what is asked is not; right: says that nothing answers",
            "absent": "no note of the service; right: says that nothing answers",
        },
        "summary": {name: summary(results) for name, results in settings.items()},
        "results": settings,
        "seconds": round(time.monotonic() - began),
    }


def summary(results: dict[str, dict[str, dict[str, int]]]) -> dict[str, float]:
    """Shares over all languages."""
    total: Counter[str] = Counter()
    for kinds in results.values():
        for kind, counts in kinds.items():
            group = "answerable" if kind == "found" else "unanswerable"
            total.update({f"{group} {name}": count for name, count in counts.items()})
    asked, empty = total["answerable count"], total["unanswerable count"]
    return {
        "answerable": asked,
        "cited right": round(total["answerable right"] / asked, 4),
        "wrongly said nothing": round(total["answerable nothing"] / asked, 4),
        "unanswerable": empty,
        "rightly said nothing": round(total["unanswerable right"] / empty, 4),
    }


def main() -> None:
    """Measure and write the report."""
    weights, tekken, path = map(Path, sys.argv[1:4])
    found = report(weights, tekken)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(json.dumps(found["summary"], indent=1))


if __name__ == "__main__":
    main()
