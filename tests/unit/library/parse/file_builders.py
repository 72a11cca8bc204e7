"""Small files of each format, built in memory."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import PurePath

import docx
import odfdo
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfgen import canvas
from reportlab.platypus import Flowable, PageBreak, Paragraph, SimpleDocTemplate

from casemate.library.parse import Extracted, Limits
from casemate.library.parse.worker import extract

STYLES = getSampleStyleSheet()


def extracted(name: str, content: bytes, limits: Limits | None = None) -> Extracted:
    """What the parser makes of a file, in this process."""
    return extract(PurePath(name).suffix, content, limits or Limits())


def a_docx(fill: Callable[..., None]) -> bytes:
    document = docx.Document()
    fill(document)
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def an_odt(*elements: odfdo.Element, title: str = "") -> bytes:
    document = odfdo.Document("text")
    document.body.clear()
    for element in elements:
        document.body.append(element)
    if title:
        document.meta.title = title
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def a_pdf(*pages: list[Flowable], title: str | None = None, encrypt: str | None = None) -> bytes:
    file = io.BytesIO()
    document = SimpleDocTemplate(file, title=title, encrypt=encrypt)
    flow: list[Flowable] = []
    for page in pages:
        flow += [*page, PageBreak()]
    document.build(flow)
    return file.getvalue()


def a_paragraph(text: str, style: str = "BodyText") -> Paragraph:
    return Paragraph(text, STYLES[style])


def a_pdf_of_lines(pages: int, lines: int = 1) -> bytes:
    file = io.BytesIO()
    sheet = canvas.Canvas(file)
    for page in range(1, pages + 1):
        for line in range(lines):
            sheet.drawString(72, 800 - 14 * line, f"Seite {page}, Zeile {line}.")
        sheet.showPage()
    sheet.save()
    return file.getvalue()


def a_zip(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def rezipped(content: bytes, **changes: bytes | None) -> bytes:
    """The same zip with members replaced, added, or left out (None)."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members.update({name: new for name, new in changes.items() if new is not None})
    return a_zip(**{name: members[name] for name in members if changes.get(name, b"") is not None})
