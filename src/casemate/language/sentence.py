"""Where sentences begin and end in German, French, English and Luxembourgish.

No language is detected and nothing is trained: the text is first cut where its layout says so
(empty lines, list items, table rows, headings), then at sentence-ending signs, unless the words
around a sign show that it belongs to an abbreviation, an ordinal, a date or an initial. Spans are
code points, so the text is never altered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from casemate.language.abbreviation import (
    ALWAYS,
    BEFORE_A_CAPITAL,
    BEFORE_A_LETTER,
    BEFORE_A_NUMBER,
    BEFORE_AN_ORDINAL,
    MONTHS,
    OPENERS_OF_SENTENCES,
    WITH_CAPITAL,
)

_CLOSERS = "\"'”“’»›)\\]"
# A sign, the quotation marks and brackets it closes (» in French after a space), then a space
# or the end. Ideographic signs need no space after them.
_END = re.compile(
    rf"(?P<sign>[.!?…]+|[。！？]+)"
    rf"(?P<closed>[{_CLOSERS}]*(?:[ \u00a0\u202f][»›](?=\s|\Z))?[{_CLOSERS}]*)"
    rf"(?=\s|\Z|(?<=[。！？]))"
)
_OPENING = " \t\n\u00a0\u202f\"'“”„‚‘’«»‹([{–—-*_"
_WORD_BEFORE = re.compile(r"[^\s(\[{«»„“”\"‚‘/]+\Z")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
# Short first part, so that "www.example.lu" is none.
_INITIALISM = re.compile(r"[^\W\d_]{1,2}\.(?:[^\W\d_]{1,4}\.)*[^\W\d_]{1,4}\Z")
_SPACED = re.compile(
    r"(?:\A|[\s(])(?:z\.\s?[BT]|d\.\s?h|u\.\s?U|i\.\s?d\.\s?R|i\.\s?[SV]|i\.\s?V\.\s?m|m\.\s?a\.\s?W|"
    r"[nv]\.\s?Chr|p\.\s?ex|e\.\s?g|i\.\s?e|N\.\s?B)\Z"
)
_ARTICLE = re.compile(r"\A[dl]['’]", re.IGNORECASE)
_RANGE = re.compile(r"\d{1,3}\.\s?[-–/]\s?\d{1,3}\Z")
_ORDINAL = re.compile(r"(?:\d{1,3}[-–/])?\d{1,3}\Z|[IVXL]{2,6}\Z")
_DAY_AND_MONTH = re.compile(r"\d{1,2}\.\s?\d{1,2}\Z")
_LIST_NUMBER = re.compile(r"(?:\d{1,3}(?:\.\d{1,3})*|[A-Za-z]|[IVXLivxl]{1,5})\Z")
_INLINE_ITEM = re.compile(r"[a-z]\)\s")
_ROMAN = re.compile(r"[IVXLC]+\Z")
_LOOK_BACK = 80


def sentences(text: str, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """The sentences of ``text[start:end]`` as spans of ``text``, in order.

    Units: code points, half open. The spans never overlap, neither begin nor end with white
    space, and hold every other character. A single line break is white space within a sentence
    unless a list item, table row or heading begins or ends there.
    """
    part = text[start:end]
    base = slice(start, end).indices(len(text))[0]
    found: list[tuple[int, int]] = []
    for block_start, block_end in _blocks(part):
        block = part[block_start:block_end]
        reached = 0
        # A table row or record is quoted whole, unless its cells are prose.
        whole = len(block) < _LONG_ROW and (_CELLS.search(block) or _is_record(block))
        cuts = [] if whole else _cuts(block)
        for cut in (*cuts, len(block)):
            span = _trimmed(block, reached, cut)
            if span is not None:
                offset = base + block_start
                found.append((offset + span[0], offset + span[1]))
            reached = cut
    return found


def _is_record(block: str) -> bool:
    """Whether ``block`` is "Name: value; Name: value; …" on one line."""
    return block.count(": ") > 2 and "\n" not in block.strip() and len(_FIELD.findall(block)) > 2


def begins_item(line: str, before: str | None, *, in_list: bool) -> bool:
    """Whether ``line`` is a list item or numbered heading rather than a wrapped line.

    before: the line above it, None if there is none. in_list: whether that line belongs to a list.
    """
    settled = before is None or in_list or bool(_ENDED.search(before))
    if _BULLET.match(line):
        return True
    if _DASH.match(line) or _SECTION.match(line):
        return settled
    marker = _NUMBERED.match(line)
    if marker is None:
        return False
    after = _WORD.match(line, marker.end())
    if marker[0].rstrip().endswith("."):
        # "am\n15. Januar" is a date that wraps, "das\n3. Kind" an ordinal.
        if after is None or after[0].lower() in MONTHS or after[0][0].islower():
            return settled and (after is None or after[0].lower() not in MONTHS)
        return before is None or _last_word(before) not in BEFORE_AN_ORDINAL
    return settled or _last_word(before or "") not in BEFORE_A_LETTER


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    piece = text[start:end]
    inner = piece.strip()
    if not inner:
        return None
    start += len(piece) - len(piece.lstrip())
    return start, start + len(inner)


# --- layout -------------------------------------------------------------------------------------

_BULLET = re.compile(r"\s*[-*+•‣▪◦·●○■□▶➢✓→][ \t\u00a0]")
_DASH = re.compile(r"\s*[–—][ \t\u00a0]")
_NUMBERED = re.compile(r"\s*(?:\(?(?:\d{1,3}(?:\.\d{1,3})*|[a-zA-Z]|[ivxIVX]{1,5})\)|\d{1,3}\.)\s+")
_SECTION = re.compile(r"\s*\d{1,2}(?:\.\d{1,2}){1,4}\.?\s+[^\W\d_]")
_CELLS = re.compile(r"[^|\n]\s\|(?:\s|\Z)|\A\|\s")
_LONG_ROW = 600
_FIELD = re.compile(r"(?:\A|; )[^\n:;.]{1,60}: ")
_MARKED_HEADING = re.compile(r"\s*#{1,6}\s")
_RULE = re.compile(r"\s*(?:[=_~*-]\s*){3,}\Z")
_LABELLED = re.compile(r"[^\W\d_][^\n:;!?]{0,40}:\s\S")
_ENDED = re.compile(r"[.:;,!?…][\"'”“’»)\]]*\s*\Z")


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Stretches of lines that no layout separates, as spans of ``text``."""
    start = reached = 0
    before: str | None = None  # the line above, None after an empty one
    in_list = False
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        listed = bool(bare) and begins_item(bare, before, in_list=in_list)
        parted = before is None or listed or _stands_alone(bare) or _stands_alone(before)
        if not bare or parted or (_LABELLED.match(bare) and _LABELLED.match(before or "")):
            if start < reached:
                yield start, reached
            start = reached
        reached += len(line)
        before = bare or None
        in_list = bool(bare) and (listed or in_list)
    if start < reached:
        yield start, reached


def _stands_alone(line: str | None) -> bool:
    """Whether a line is a row, a rule or a heading by its own looks."""
    if not line:
        return False
    if _MARKED_HEADING.match(line) or _RULE.match(line) or "\t" in line or _CELLS.search(line):
        return True
    return len(line) > 3 and line.isupper() and sum(map(str.isalpha, line)) > len(line) // 2 + 2


def _last_word(line: str) -> str:
    words = line.rsplit(None, 1)
    return words[-1].rstrip(".").lower() if words else ""


# --- signs --------------------------------------------------------------------------------------


def _cuts(block: str) -> list[int]:
    """Positions in ``block`` where a sentence has ended and another begins."""
    found: list[int] = []
    sentence = len(block) - len(block.lstrip())
    for match in _END.finditer(block):
        if match.end() < len(block) and _ends(block, match, sentence):
            found.append(match.end())
            sentence = match.end()
    return found


def _ends(block: str, match: re.Match[str], sentence: int) -> bool:
    """Whether the sign in ``match`` ends the sentence that began at ``sentence``."""
    sign = match["sign"]
    if sign[0] in "。！？":
        return True
    after = _next_start(block, match.end())
    follower = block[after : after + 1]
    if not follower:
        return True
    if follower.islower() and not _INLINE_ITEM.match(block, after):
        return False
    if len(sign) > 3 and follower.isdigit():
        return False  # leaders: "Seite ......... 5"
    before = block[max(sentence, match.start() - _LOOK_BACK) : match.start()]
    if sign != ".":
        return not before.endswith(("[", "("))
    if match["closed"] and not match["closed"].startswith((")", "]")):
        return True
    word = _WORD_BEFORE.search(before)
    if word is None:
        return bool(before.strip())
    at_start = not before[: word.start()].strip(_OPENING) and match.start() - sentence < _LOOK_BACK
    return _ends_after(word[0], before[: word.start()], block, after, at_start)


def _next_start(block: str, position: int) -> int:
    """Where the next word begins, behind spaces and opening signs."""
    while position < len(block) and block[position] in _OPENING:
        position += 1
    return position


def _ends_after(word: str, before: str, block: str, after: int, at_start: bool) -> bool:
    """Whether a full stop behind ``word`` ends the sentence, given what surrounds it."""
    bare = _ARTICLE.sub("", word)
    lower = bare.lower()
    last_part = lower.rsplit("-", 1)[-1]
    following = _WORD.match(block, after)
    opens = following is not None and _opens(following[0])
    if at_start and _LIST_NUMBER.match(word):
        return False
    if lower in ALWAYS or last_part in ALWAYS or _SPACED.search(before[-12:] + word):
        return False
    if bare in WITH_CAPITAL:
        return opens
    if last_part in BEFORE_A_NUMBER or (len(lower) > 4 and lower.endswith(("str", "strooss"))):
        return _is_plain_word(block, following)
    if _INITIALISM.match(word):
        return opens or (lower in BEFORE_A_CAPITAL and _is_plain_word(block, following))
    if len(bare) == 1 and bare.isalpha():
        return _ends_after_letter(bare, before, block[after], opens)
    if bare[0].isdigit() or _ORDINAL.match(bare):
        previous = "d'" if bare != word else _last_word(before)
        return _ends_after_number(bare, before, previous, block[after : after + 5], following)
    return True


def _opens(word: str) -> bool:
    """Whether ``word``, capitalised, would be lower case inside a sentence."""
    lower = word.lower()
    return lower in OPENERS_OF_SENTENCES or lower[:2] in ("d'", "d’", "l'", "l’", "j'", "c'", "c’")


def _is_plain_word(block: str, following: re.Match[str] | None) -> bool:
    """Whether an ordinary capitalised word follows, not a number, letter or code."""
    if following is None or len(following[0]) < 2 or _ROMAN.match(following[0]):
        return False
    behind = block[following.end() : following.end() + 2]
    return not (behind[:1] == "." or behind[:1].isdigit() or behind[1:].isdigit())


def _ends_after_letter(letter: str, before: str, follower: str, opens: bool) -> bool:
    """ "Anlage A." and "10 m." end; the initial "J." and the "z" of "z. B." do not."""
    previous = _last_word(before)
    if previous in BEFORE_A_LETTER or (letter.islower() and previous[-1:].isdigit()):
        return True
    # "M. Le Goff", "p. 5"
    return opens and letter not in ("M", "H") and not follower.isdigit()


def _ends_after_number(
    number: str, before: str, previous: str, follower: str, following: re.Match[str] | None
) -> bool:
    """Whether "3." ends a sentence or is an ordinal or part of a date."""
    whole = f"{before[-6:]}{number}"
    if follower[:1].isdigit():
        day = re.match(r"\d{1,2}\.", follower) and _ORDINAL.match(number)
        year = re.match(r"\d{4}", follower) and _DAY_AND_MONTH.search(whole)
        return not (day or year)
    if following is None:
        return True
    if following[0].lower() in MONTHS and _ORDINAL.match(number):
        return False
    ordinal = _ORDINAL.match(number) and previous in BEFORE_AN_ORDINAL
    if ordinal or _RANGE.search(whole) or _DAY_AND_MONTH.search(whole):
        return _opens(following[0])
    return True
