"""Checks the demo corpus and its questions.

Every gold quote must occur exactly once in its document, apart from white space; the documents,
languages, formats and questions must be as many as promised; every document must say that it is
fictional. Text is taken out by simple means, apart from those that the platform uses.

Usage: python tools/corpus/check.py
"""

from __future__ import annotations

import csv
import io
import re
import sys
import tomllib
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import docx
import odfdo
import pypdfium2
from selectolax.lexbor import LexborHTMLParser

DEMO = Path(__file__).resolve().parents[2] / "src" / "casemate" / "demo"
CORPUS = DEMO / "corpus"
FICTIONAL = {
    "de": "Fiktives Dokument, zu Vorführzwecken geschrieben.",
    "fr": "Document fictif, rédigé à des fins de démonstration.",
    "en": "Fictional document, written for demonstration.",
    "lb": "Fiktiivt Dokument, geschriwwe fir Demonstratiounszwecker.",
}
FORMATS = {".md", ".txt", ".html", ".pdf", ".docx", ".odt", ".csv"}


def pdf_text(path: Path) -> str:
    """The text of all pages."""
    with pypdfium2.PdfDocument(path) as document:
        return "\n".join(page.get_textpage().get_text_bounded() for page in document)


def docx_text(path: Path) -> str:
    """Paragraphs and the cells of tables, in their order."""
    lines = []
    for element in docx.Document(str(path)).iter_inner_content():
        if isinstance(element, docx.table.Table):
            lines += [" ".join(cell.text for cell in row.cells) for row in element.rows]
        else:
            lines.append(element.text)
    return "\n".join(lines)


def odt_text(path: Path) -> str:
    """All paragraphs, those in lists and tables among them."""
    body = odfdo.Document(path).body
    return "\n".join(e.inner_text for e in body.get_elements("//text:h | //text:p"))


def html_text(path: Path) -> str:
    """The text of the body."""
    body = LexborHTMLParser(path.read_text(encoding="utf-8")).body
    return body.text(separator=" ") if body else ""


def csv_text(path: Path) -> str:
    """Each row as "Header: value; Header: value"."""
    text = path.read_text(encoding="utf-8")
    delimiter = ";" if ";" in text.splitlines()[0] else ","
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True))
    if any(None in row or None in row.values() for row in rows):
        raise SystemExit(f"{path}: uneven rows")
    return "\n".join("; ".join(f"{k}: {v}" for k, v in row.items() if v) for row in rows)


READERS = {
    ".pdf": pdf_text,
    ".docx": docx_text,
    ".odt": odt_text,
    ".html": html_text,
    ".csv": csv_text,
}


def squeeze(text: str) -> str:
    """One space for any run of white space."""
    return re.sub(r"\s+", " ", text).strip()


def read(path: Path) -> str:
    """The text of a document, white space squeezed."""
    reader = READERS.get(path.suffix)
    return squeeze(reader(path) if reader else path.read_text(encoding="utf-8"))


def check(documents: dict[str, str], questions: list[dict[str, Any]]) -> list[str]:
    """Say what is wrong."""
    wrong = []
    need = wrong.append
    languages: dict[str, str] = {}
    for name, text in documents.items():
        said = [language for language, line in FICTIONAL.items() if line in text]
        if len(said) != 1:
            need(f"{name}: says {len(said)} times that it is fictional")
        languages[name] = said[0] if said else "?"
        if unicodedata.normalize("NFC", text) != text or "\ufffe" in text or "\xad" in text:
            need(f"{name}: odd characters")
    formats = Counter(Path(name).suffix for name in documents)
    per_language = Counter(languages.values())
    words = {name: len(text.split()) for name, text in documents.items()}
    if len(documents) < 36:
        need(f"{len(documents)} documents")
    for suffix, least in {".pdf": 6, ".docx": 4, ".odt": 4, ".csv": 3}.items():
        if formats[suffix] < least:
            need(f"{formats[suffix]} documents in {suffix}")
    if set(formats) != FORMATS:
        need(f"formats {sorted(formats)}")
    for name, count in words.items():
        if not name.endswith(".csv") and not 250 <= count <= 1500:
            need(f"{name}: {count} words")
    long = sum(
        len(pypdfium2.PdfDocument(CORPUS / name)) >= 3 for name in documents if name[-4:] == ".pdf"
    )
    if long < 4:
        need(f"{long} PDF documents of three or more pages")
    size = sum((CORPUS / name).stat().st_size for name in documents)
    if size >= 3_000_000:
        need(f"{size:,} bytes")

    ids = Counter(question["id"] for question in questions)
    wrong += [f"{name}: used {count} times" for name, count in ids.items() if count > 1]
    texts = Counter(question["text"] for question in questions)
    wrong += [f"asked {count} times: {text}" for text, count in texts.items() if count > 1]
    answerable: Counter[str] = Counter()
    hopeless: Counter[str] = Counter()
    covered: Counter[tuple[str, str, str]] = Counter()
    splits: Counter[tuple[str, bool]] = Counter()
    compound = 0
    for question in questions:
        name, language, split = question["id"], question["language"], question["split"]
        gold = question["gold"]
        splits[split, bool(gold)] += 1
        if question.get("answerable", True) != bool(gold) or split not in ("tuning", "held-out"):
            need(f"{name}: contradicts itself")
        (answerable if gold else hopeless)[language] += 1
        compound += len(gold) > 1
        for entry in gold:
            found = documents.get(entry["document"], "").count(squeeze(entry["quote"]))
            if found != 1:
                need(f"{name}: found {found} times in {entry['document']}: {entry['quote']}")
            elif languages[entry["document"]] != language:
                need(f"{name}: gold in another language")
            covered[split, language, Path(entry["document"]).suffix] += 1
    for language in FICTIONAL:
        if per_language[language] < 9 or answerable[language] < 12 or hopeless[language] < 4:
            need(f"{language}: too few documents or questions")
        for split in ("tuning", "held-out"):
            missing = {s for s in FORMATS if not covered[split, language, s]}
            if missing:
                need(f"{language}, {split}: no question on {sorted(missing)}")
    if answerable.total() < 52 or hopeless.total() < 20 or compound < 6:
        need("too few questions")

    print(f"documents   {len(documents)}, {sum(words.values()):,} words, {size:,} bytes")
    print(f"languages   {dict(per_language)}")
    print(f"formats     {dict(formats)}, {long} PDF of three or more pages")
    print(f"answerable  {dict(answerable)}, {compound} of them compound")
    print(f"no answer   {dict(hopeless)}")
    print(
        "splits      "
        + ", ".join(
            f"{s} {'with' if a else 'without'} answer {n}" for (s, a), n in sorted(splits.items())
        )
    )
    asked = {entry["document"] for question in questions for entry in question["gold"]}
    print(f"not asked   {sorted(set(documents) - asked)}")
    return wrong


def main() -> int:
    """Read, check, report."""
    documents = {
        path.relative_to(CORPUS).as_posix(): read(path)
        for path in sorted(CORPUS.rglob("*"))
        if path.is_file()
    }
    with (DEMO / "questions.toml").open("rb") as file:
        questions = tomllib.load(file)["question"]
    wrong = check(documents, questions)
    for line in wrong:
        print("WRONG", line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
