"""Questions: taking one apart, and knowing what kind of thing would answer it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from casemate.engines.engine import Part
from casemate.language import words

# Words that open a question, and the prepositions that may stand before them.
_OPENERS = (
    r"(?:bis|ab|seit|von|zu|an|in|mit|bei|für|fir|vun|mat|zënter|by|at|in|for|until|since|from|to|with"
    r"|à|de|pour|jusqu'à|jusqu’à|dans|avec|en|depuis)? ?"
    r"(?:was|wer|wen|wem|wie|wieviel\w*|wo|wohin|woher|wann|warum|weshalb|wieso|welche\w*|womit|wofür"
    r"|wat|wien|wéi|wéivill?|wou|wéini|firwat|wéieng|wéien|wéilech\w*"
    r"|what|who|whom|which|where|when|why|how"
    r"|que|quoi|qui|quel|quelle|quels|quelles|où|quand|comment|combien|pourquoi|qu['’]est-ce|est-ce"
    r"|muss|kann|darf|gibt|brauche|gëtt|däerf|brauch|must|can|may|do|does|is|are|dois-je|puis-je|faut-il)\b"
)
_AND = r"(?:und|sowie|oder|and|or|et|ou|an|a|oder)"
_BETWEEN = re.compile(rf"(?<=[?!]) | ?[,;]? {_AND} (?={_OPENERS})| ?[,;] (?={_OPENERS})", re.I)
_FEWEST_WORDS = 2  # content words without which a part leans on the one before

MONEY = "money"
NUMBER = "number"
TIME = "time"

_ASKS = {
    MONEY: re.compile(
        r"\b(?:was\s+(?:kost|zahl)\w*|kost(?:en|et)|teuer|(?:be)?zahl\w*|preis\w*|tarif\w*|gebühr\w*|geld"
        r"|kascht\w*|k[äa]scht\w*|deier|(?:be)?zuel\w*|bezil\w*|präis\w*|tax|suen"
        r"|cost\w*|price\w*|charge[sd]?|pay(?:s|ing)?|paid|fees?|money|how\s+much"
        r"|co[ûu]t\w*|prix|cher|re?pay\w*|pai\w*|montant|taxes?|argent)(?!\w)",
        re.I,
    ),
    TIME: re.compile(
        # These also mean "if": they ask only where they open, perhaps after "until" or "since".
        r"(?:^|[.?!:]\s+)(?:\w+\s+)?(?:wann|when|quand)(?!\w)"
        r"|\b(?:frist\w*|wie\s+(?:viel\s+uhr|lang\w*|früh|spät|viel\s+zeit)|öffnungszeit\w*|uhrzeit"
        r"|wochentag|w[ée]ini|fr[ëe]scht\w*|w[ée]i\s+(?:laang\w*|fréi|spéit)"
        r"|deadline\w*|how\s+(?:long|soon|early|late|far\s+ahead)|what\s+(?:time|day)|opening\s+hours"
        r"|d[ée]lai\w*|date\s+limite|combien\s+de\s+(?:temps|jours|semaines|mois)"
        r"|quelle?\s+(?:heure|date)|horaire\w*|quels?\s+jours?)(?!\w)",
        re.I,
    ),
    NUMBER: re.compile(
        r"\b(?:wie\s*viel\w*|wie\s+(?:hoch|groß|alt|weit)|w[ée]i\s*vill?|w[ée]i\s+(?:héich|grouss|al)"
        r"|how\s+(?:many|high|big|old|far)|combien|à\s+partir\s+de\s+quel\s+âge)(?!\w)",
        re.I,
    ),
}
_MONTHS = (
    "januar februar märz april mai juni juli august september oktober november dezember "
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre "
    "january february march may june july october december mäerz abrëll mee"
)
_DAYS = (
    "montag\\w* dienstag\\w* mittwoch\\w* donnerstag\\w* freitag\\w* samstag\\w* sonntag\\w* "
    "lundis? mardis? mercredis? jeudis? vendredis? samedis? dimanches? "
    "mondays? tuesdays? wednesdays? thursdays? fridays? saturdays? sundays? "
    "méindeg\\w* dënschdeg\\w* mëttwoch\\w* donneschdeg\\w* freideg\\w* samschdeg\\w* sonndeg\\w*"
)
_NUMBERS = (
    r"\d+|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|zwölf|vierzehn"
    r"|deux|trois|quatre|cinq|six|sept|huit|neuf|dix|douze|quinze"
    r"|one|two|three|four|five|seven|eight|nine|ten|twelve|fourteen"
    r"|zwee|zwou|dräi|véier|fënnef|aacht|néng|zéng|zwielef"
)
_UNITS = (
    "tage?n? wochen? monate?n? jahre?n? stunden? minuten uhr werktage?n? arbeitstage?n? "
    "jours? semaines? mois ans? années? heures? minutes? h "
    "days? weeks? months? years? hours? working a\\.m p\\.m am pm "
    "deeg woche?n? méint joer stonne?n? minutten auer"
)
_SHOWS = {
    MONEY: re.compile(
        r"€|\beuros?\b|\bEUR\b|\bprozent\b|\bpour\s+cent\b|\bper\s*cent\b|%"
        r"|\b(?:kostenlos|kostenfrei|gratis|gebührenfrei|gratuit|fräi|ëmsoss)\w*|\bfree(?:\s+of\s+charge)?\b"
        r"|\b(?:ohne\s+kosten|sans\s+frais|no\s+(?:charge|fee)|ouni\s+käschten)\b",
        re.I,
    ),
    TIME: re.compile(
        rf"\b(?:{'|'.join(sorted({*_MONTHS.split(), *_DAYS.split()}))})\b"
        rf"|\b(?:{_NUMBERS})\s*(?:\w+\s+)?(?:{'|'.join(_UNITS.split())})(?!\w)"
        r"|\d{1,2}[:.h]\d{2}|\d{1,2}\.\s?\d{1,2}\."
        r"|\b(?:täglich|jederzeit|quotidien\w*|daily|all\s+year|deeglech)\b",
        re.I,
    ),
    NUMBER: re.compile(rf"\b(?:{_NUMBERS})\b", re.I),
}
_ARTICLES = frozenset(
    """le la les un une des du au aux mon ma mes ton ta son sa ses notre nos votre vos leur leurs ce
    cet cette ces de d l the a an my your his her its our their this that these those any some no of
    for at in on with from by""".split()
)
_SENTENCE_END = re.compile(r"(?<=[.?!:])\s+")
_TOKEN = re.compile(r"[^\W_]+")
# Asking words that name the kind of answer, not its topic; evidence of the kind stands for them.
_KIND_WORDS = re.compile("|".join(pattern.pattern for pattern in _ASKS.values()), re.I)


def parts(question: str) -> tuple[Part, ...]:
    """Split a compound question; a part too short to stand alone borrows its forerunner's words."""
    # One space for every run of white space: patterns stay linear whatever is typed.
    question = " ".join(question.split())
    pieces = [piece.strip(" ,;") for piece in _BETWEEN.split(question)]
    pieces = [piece for piece in pieces if any(char.isalnum() for char in piece)]
    if not pieces:
        return (Part(question, question),)
    found: list[Part] = []
    for piece in pieces:
        own = words.content_words(topic(piece))
        lacks = len(own) < _FEWEST_WORDS
        query = f"{piece} {topic(found[-1].query)}" if found and lacks else piece
        found.append(Part(piece, query))
    return tuple(found)


def topic(question: str) -> str:
    """The question without the words that only say what kind of answer is wanted."""
    return _KIND_WORDS.sub(" ", question)


def subjects(question: str, language: str) -> frozenset[str]:
    """The folded words that name things: what a question is about, rather than what it does.

    German and Luxembourgish write nouns with a capital; in French and English they follow an
    article, a possessive or a preposition, with at most one word between.
    """
    found: set[str] = set()
    for sentence in _SENTENCE_END.split(question):
        tokens = _TOKEN.findall(sentence.replace("’", "'"))
        for place, token in enumerate(tokens):
            before = [one.lower() for one in tokens[max(0, place - 2) : place]]
            capital = place > 0 and token[0].isupper() and len(token) > 2
            if capital or (language not in ("de", "lb") and _follows_article(before)):
                found.add(words.fold(token))
    return frozenset(found)


def _follows_article(before: Sequence[str]) -> bool:
    if not before:
        return False
    if before[-1] in _ARTICLES:
        return True
    return before[0] in _ARTICLES and len(before) > 1 and bool(words.content_words(before[1]))


def kind(question: str) -> str | None:
    """MONEY, TIME or NUMBER, whichever the question asks for first; None when it does not say."""
    found = [
        (match.start(), name)
        for name, pattern in _ASKS.items()
        if (match := pattern.search(question))
    ]
    names = [name for _, name in sorted(found)]
    # "How much" says number; what follows says of what: how much does it cost.
    return next((name for name in names if name != NUMBER), names[0] if names else None)


def shows(kind: str, sentence: str) -> bool:
    """Whether ``sentence`` holds something of that kind."""
    return _SHOWS[kind].search(sentence) is not None
