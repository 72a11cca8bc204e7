"""Quotations: that an answer's citations are, letter for letter, what stands in its sources.

Offsets are Unicode code points: of a citation in the document's extracted text, of a sentence in
the answer. Standard library and ``pair`` only: part of the verifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from casemate.ledger.pair import is_digest


class QuotationError(ValueError):
    """A citation, a sentence or a source is malformed or does not hold."""


@dataclass(frozen=True)
class Quotations:
    """What was found right: how many citations, of which source passages, of which documents.

    files: name and digest of each document that is cited, where its source states a digest.
    """

    count: int
    passages: tuple[int, ...]
    documents: tuple[str, ...]
    files: tuple[tuple[str, str], ...]


def check_answer(answer: object) -> str:
    """The text of an opened answer, whose sentences lie within it.

    Raises QuotationError if it is malformed.
    """
    fields = _fields(answer, "an answer", {"text": str, "citations": list, "sentences": list})
    text: str = fields["text"]
    for number, one in enumerate(fields["sentences"], 1):
        what = f"sentence {number}"
        sentence = _fields(one, what, {"start": int, "end": int, "citations": list})
        if not 0 <= sentence["start"] <= sentence["end"] <= len(text):
            raise QuotationError(f"{what} does not lie within the answer")
        for place in sentence["citations"]:
            if type(place) is not int or not 0 <= place < len(fields["citations"]):
                raise QuotationError(f"{what} names a citation that does not exist")
    return text


def check_quotations(answer: object, sources: object) -> Quotations:
    """Compare every citation of an opened answer with the opened source that it names.

    Raises QuotationError at the first that is not verbatim at its place.
    """
    if not isinstance(sources, list):
        raise QuotationError("the sources are not a list")
    passages = [_source(number, one) for number, one in enumerate(sources, 1)]
    fields = _fields(answer, "an answer", {"text": str, "citations": list, "sentences": list})
    cited: list[int] = []
    for number, one in enumerate(fields["citations"], 1):
        what = f"citation {number}"
        citation = _fields(one, what, {"source": int, "start": int, "end": int, "quote": str})
        if not 0 <= citation["source"] < len(passages):
            raise QuotationError(f"{what} names a source that does not exist")
        source = passages[citation["source"]]
        start, end = citation["start"], citation["end"]
        if not source["start"] <= start < end <= source["end"]:
            raise QuotationError(f"{what} does not lie within its passage")
        if source["text"][start - source["start"] : end - source["start"]] != citation["quote"]:
            raise QuotationError(f"{what} is not what stands there in “{source['document']}”")
        if citation["source"] not in cited:
            cited.append(citation["source"])
    documents = dict.fromkeys(str(passages[place]["document"]) for place in cited)
    files = dict.fromkeys(
        (str(passages[place]["document"]), str(passages[place]["digest"]))
        for place in cited
        if "digest" in passages[place]
    )
    return Quotations(len(fields["citations"]), tuple(cited), tuple(documents), tuple(files))


def _source(number: int, value: object) -> dict[str, Any]:
    what = f"source {number}"
    source = _fields(value, what, {"document": str, "start": int, "end": int, "text": str})
    if not 0 <= source["start"] <= source["end"]:
        raise QuotationError(f"{what} has impossible offsets")
    if len(source["text"]) != source["end"] - source["start"]:
        raise QuotationError(f"{what} is not as long as its offsets say")
    if "digest" in source and not is_digest(source["digest"]):
        raise QuotationError(f"{what} has no digest but something else in its place")
    return source


def _fields(value: object, what: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise QuotationError(f"{what} is no object")
    for name, kind in kinds.items():
        # exact types: True would pass for the integer 1
        if type(value.get(name)) is not kind:
            raise QuotationError(f"{what} has no {name}")
    return value
