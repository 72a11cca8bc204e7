"""Builds the PDF, DOCX and ODT files of the demo corpus from the plain texts in sources/.

A source is called like the file it becomes, plus ".src": sources/fees/x.pdf.src becomes
fees/x.pdf in the corpus. It opens with "lang:" and "date:" lines and a line "---"; then come
blocks parted by blank lines: "# ", "## " and "### " headings, "- " and "1. " lists, "| a | b |"
tables whose first row is the header, and paragraphs.

Usage: python tools/corpus/build.py [target folder]
The same sources and library versions give the same bytes.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from xml.sax.saxutils import escape

import docx
import odfdo
from docx.oxml.ns import qn
from docx.shared import Pt
from reportlab.lib import colors
from reportlab.lib.enums import TA_LEFT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import cm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    ListFlowable,
    ListItem,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "sources"
CORPUS = HERE.parents[1] / "src" / "casemate" / "demo" / "corpus"
AUTHOR = "Hollerbréck (fictional)"
PAGE_OF = {"de": "Seite {} von {}", "fr": "Page {} sur {}", "en": "Page {} of {}"}
PAGE_OF["lb"] = "Säit {} vun {}"

Block = tuple[str, object]


class Source:
    """One source text: its head and its blocks."""

    def __init__(self, path: Path) -> None:
        head, _, body = path.read_text(encoding="utf-8").partition("\n---\n")
        fields = dict(line.split(":", 1) for line in head.splitlines() if line.strip())
        self.language = fields["lang"].strip()
        self.date = datetime.fromisoformat(fields["date"].strip())
        self.blocks = [block(part) for part in body.split("\n\n") if part.strip()]
        kind, title = self.blocks[0]
        if kind != "h1" or not isinstance(title, str):
            raise SystemExit(f"{path}: the first block is not a title")
        self.title = title
        body.encode("cp1252")  # what the standard PDF fonts can show


def block(part: str) -> Block:
    """Say what a block is, and take its marks off."""
    lines = part.strip("\n").splitlines()
    first = lines[0]
    for mark, kind in (("### ", "h3"), ("## ", "h2"), ("# ", "h1")):
        if first.startswith(mark):
            return kind, " ".join(lines).removeprefix(mark)
    if first.startswith("|"):
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
        if len({len(row) for row in rows}) != 1:
            raise SystemExit(f"uneven table: {first}")
        return "table", rows
    if first.startswith("- "):
        return "ul", items(lines, lambda line: line.startswith("- "))
    if first.startswith("1. "):
        return "ol", items(lines, lambda line: line.split(". ")[0].isdigit())
    return "p", " ".join(line.strip() for line in lines)


def items(lines: list[str], starts: Callable[[str], bool]) -> list[str]:
    """Join each item with the lines that continue it."""
    found: list[str] = []
    for line in lines:
        if starts(line):
            found.append(line.split(" ", 1)[1].strip())
        else:
            found[-1] += " " + line.strip()
    return found


# PDF


def style(name: str, size: float, before: float, after: float, bold: bool) -> ParagraphStyle:
    """A paragraph style in one of the standard fonts."""
    return ParagraphStyle(
        name,
        fontName="Helvetica-Bold" if bold else "Helvetica",
        fontSize=size,
        leading=size * 1.4,
        spaceBefore=before,
        spaceAfter=after,
        alignment=TA_LEFT,
        keepWithNext=bold and name != "head",
    )


STYLES = {
    "h1": style("h1", 17, 0, 10, True),
    "h2": style("h2", 13, 14, 5, True),
    "h3": style("h3", 11, 9, 3, True),
    "p": style("p", 11, 0, 7, False),
    "cell": style("cell", 9.5, 0, 0, False),
    "head": style("head", 9.5, 0, 0, True),
}


def flowables(source: Source, width: float) -> list[Flowable]:
    """The blocks as things that ReportLab lays out."""
    story: list[Flowable] = []
    for kind, content in source.blocks:
        if isinstance(content, str):
            story.append(Paragraph(escape(content), STYLES[kind]))
        elif kind == "table":
            story.append(table(content, width))  # type: ignore[arg-type]
            story.append(Spacer(1, 9))
        else:
            story.append(
                ListFlowable(
                    [
                        ListItem(Paragraph(escape(item), STYLES["p"]), spaceAfter=1)
                        for item in content  # type: ignore[attr-defined]
                    ],
                    bulletType="1" if kind == "ol" else "bullet",
                    bulletFormat="%s." if kind == "ol" else None,
                    start=None if kind == "ol" else "•",
                    leftIndent=18,
                )
            )
    return story


def table(rows: list[list[str]], width: float) -> Table:
    """A ruled table; the first column gets the room that the others do not need."""
    columns = len(rows[0])
    longest = [max(len(row[i]) for row in rows) for i in range(columns)]
    shares = [min(max(n, 10), 45) for n in longest]
    grid = Table(
        [
            [Paragraph(escape(cell), STYLES["cell" if i else "head"]) for cell in row]
            for i, row in enumerate(rows)
        ],
        colWidths=[width * share / sum(shares) for share in shares],
        repeatRows=1,
    )
    grid.setStyle(
        TableStyle(
            [
                ("GRID", (0, 0), (-1, -1), 0.4, colors.grey),
                ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ]
        )
    )
    return grid


def pdf(source: Source) -> bytes:
    """Lay the text out twice: the first time counts the pages."""
    _, pages = pdf_once(source, 0)
    return pdf_once(source, pages)[0]


def pdf_once(source: Source, total: int) -> tuple[bytes, int]:
    """One pass, with this total in the footers."""
    out = io.BytesIO()

    def furniture(canvas: Canvas, document: BaseDocTemplate) -> None:
        canvas.saveState()
        canvas.setFont("Helvetica", 8.5)
        canvas.drawString(2.5 * cm, 1.4 * cm, f"Hollerbréck · {source.title}")
        label = PAGE_OF[source.language].format(document.page, total)
        canvas.drawRightString(A4[0] - 2.5 * cm, 1.4 * cm, label)
        canvas.restoreState()

    document = BaseDocTemplate(
        out,
        pagesize=A4,
        leftMargin=2.5 * cm,
        rightMargin=2.5 * cm,
        topMargin=2.3 * cm,
        bottomMargin=2.4 * cm,
        title=source.title,
        author=AUTHOR,
        lang=source.language,
        invariant=1,
    )
    frame = Frame(document.leftMargin, document.bottomMargin, document.width, document.height)
    document.addPageTemplates([PageTemplate("page", [frame], onPage=furniture)])
    document.build(flowables(source, document.width - 12))
    return out.getvalue(), document.page


# DOCX


def word(source: Source) -> bytes:
    """A Word document with real headings, lists and tables."""
    document = docx.Document()
    document.styles["Normal"].font.size = Pt(11)
    fonts = document.styles.element.find(qn("w:docDefaults")).find(qn("w:rPrDefault"))
    fonts.find(qn("w:rPr")).find(qn("w:lang")).set(qn("w:val"), source.language)
    facts = document.core_properties
    facts.title, facts.author, facts.last_modified_by = source.title, AUTHOR, AUTHOR
    facts.created = facts.modified = source.date
    facts.language, facts.comments, facts.revision = source.language, "", 1
    for kind, content in source.blocks:
        if isinstance(content, str):
            if kind == "p":
                document.add_paragraph(content)
            else:
                document.add_heading(content, int(kind[1]))
        elif kind == "table":
            rows: list[list[str]] = content  # type: ignore[assignment]
            grid = document.add_table(len(rows), len(rows[0]), style="Table Grid")
            for cells, row in zip(grid.rows, rows, strict=True):
                for cell, text in zip(cells.cells, row, strict=True):
                    cell.text = text
            document.add_paragraph("")
        else:
            name = "List Number" if kind == "ol" else "List Bullet"
            for item in content:  # type: ignore[attr-defined]
                document.add_paragraph(item, style=name)
    out = io.BytesIO()
    document.save(out)
    return still(out.getvalue())


# ODT


def odt(source: Source) -> bytes:
    """An OpenDocument text with real headings, lists and tables."""
    document = odfdo.Document("text")
    document.body.clear()
    document.meta.title = source.title
    document.meta.creator = AUTHOR
    document.meta.language = source.language
    document.meta.creation_date = source.date
    for number, (kind, content) in enumerate(source.blocks):
        if isinstance(content, str):
            level = 0 if kind == "p" else int(kind[1])
            element = odfdo.Header(level, content) if level else odfdo.Paragraph(content)
            document.body.append(element)
        elif kind == "table":
            rows: list[list[str]] = content  # type: ignore[assignment]
            grid = odfdo.Table(f"Table{number}", width=len(rows[0]), height=len(rows))
            for y, row in enumerate(rows):
                for x, text in enumerate(row):
                    grid.set_value((x, y), text)
            document.body.append(grid)
        else:
            document.body.append(odfdo.List(list(content)))  # type: ignore[call-overload]
    document.meta.date = source.date
    out = io.BytesIO()
    document.save(out)
    return still(out.getvalue())


def still(data: bytes) -> bytes:
    """The same zip archive with one fixed date on every member."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.infolist():
            info = zipfile.ZipInfo(member.filename, (2026, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            info.compress_type = (
                zipfile.ZIP_STORED if member.filename == "mimetype" else zipfile.ZIP_DEFLATED
            )
            new.writestr(info, old.read(member))
    return out.getvalue()


WRITERS = {".pdf": pdf, ".docx": word, ".odt": odt}


def main(target: Path) -> None:
    """Build every source."""
    for path in sorted(SOURCES.rglob("*.src")):
        name = path.relative_to(SOURCES).with_suffix("")
        data = WRITERS[name.suffix](Source(path))
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
        print(f"{len(data):8,}  {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else CORPUS)
