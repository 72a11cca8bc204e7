"""Papers of the leak campaign: files of several formats, with a secret in every place for text."""

from __future__ import annotations

import io
import random
import zipfile
from dataclasses import dataclass

from leak_world import TOPICS, a_secret

_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_CORE = "http://schemas.openxmlformats.org/package/2006/metadata/core-properties"
_MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"


@dataclass(frozen=True)
class Written:
    """A file before it is anywhere."""

    name: str
    topic: str
    secrets: tuple[str, ...]  # the word of its text first
    content: bytes


def written(dice: random.Random, number: int) -> Written:
    """One file: mostly Markdown, some HTML, Word and CSV."""
    topic = TOPICS[number % len(TOPICS)]
    word, name, title, heading, author = (
        a_secret(dice, kind) for kind in ("kw", "kn", "kt", "kh", "ka")
    )
    says = (
        f"The code word of the {topic} is {word}.",
        f"The {topic} costs {dice.randrange(10, 99)} euros a month.",
    )
    # What a Markdown or CSV file says of its author stands in its text.
    ending, content = dice.choices(
        (
            (".md", _markdown(title, heading, author, says)),
            (".html", _page(title, heading, author, says)),
            (".csv", f"{title},{heading},{author}\n{says[0]},{says[1]},x\n".encode()),
            (".docx", None),
        ),
        (80, 12, 4, 4),
    )[0]
    if content is None:
        content = _document(title, heading, author, says)
    return Written(f"{name}{ending}", topic, (word, name, title, heading, author), content)


def _markdown(title: str, heading: str, author: str, says: tuple[str, ...]) -> bytes:
    return f"# Report {title}\n\nBy {author}\n\n## Part {heading}\n\n{' '.join(says)}\n".encode()


def _page(title: str, heading: str, author: str, says: tuple[str, ...]) -> bytes:
    return (
        f"<!doctype html><html><head><title>Report {title}</title>"
        f'<meta name="author" content="{author}"><meta name="description" content="{says[0]}">'
        f"</head><body><h1>Part {heading}</h1><p>{' '.join(says)}</p></body></html>"
    ).encode()


def _document(title: str, heading: str, author: str, says: tuple[str, ...]) -> bytes:
    body = "".join(f"<w:p><w:r><w:t>{one}</w:t></w:r></w:p>" for one in (heading, *says))
    parts = {
        "[Content_Types].xml": (
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType='
            '"application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{_MAIN}"/></Types>'
        ),
        "_rels/.rels": (
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{_OFFICE}" Target="word/document.xml"/></Relationships>'
        ),
        "word/document.xml": f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>',
        "docProps/core.xml": (
            f'<cp:coreProperties xmlns:cp="{_CORE}" xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f"<dc:title>{title}</dc:title><dc:creator>{author}</dc:creator></cp:coreProperties>"
        ),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return file.getvalue()
