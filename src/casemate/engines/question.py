"""Questions: taking one apart, and knowing what kind of thing would answer it."""

from __future__ import annotations

import re

from casemate.engines.engine import Part
from casemate.language import words

# Words that open a question, and the prepositions that may stand before them.
_OPENERS = (
    r"(?:bis|ab|seit|von|zu|an|in|mit|bei|für|fir|vun|mat|zënter|by|at|in|for|until|since|from|to|with"
    r"|à|de|pour|jusqu'à|jusqu’à|dans|avec|en|depuis)?\s*"
    r"(?:was|wer|wen|wem|wie|wieviel\w*|wo|wohin|woher|wann|warum|weshalb|wieso|welche\w*|womit|wofür"
    r"|wat|wien|wéi|wéivill?|wou|wéini|firwat|wéieng|wéien|wéilech\w*"
    r"|what|who|whom|which|where|when|why|how"
    r"|que|quoi|qui|quel|quelle|quels|quelles|où|quand|comment|combien|pourquoi|qu['’]est-ce|est-ce"
    r"|muss|kann|darf|gibt|brauche|gëtt|däerf|brauch|must|can|may|do|does|is|are|dois-je|puis-je|faut-il)\b"
)
_AND = r"(?:und|sowie|oder|and|or|et|ou|an|a|oder)"
_BETWEEN = re.compile(
    rf"(?<=[?!])\s+|\s*[,;]?\s+{_AND}\s+(?={_OPENERS})|\s*[,;]\s+(?={_OPENERS})", re.I
)
_FEWEST_WORDS = 2  # content words without which a part leans on the one before

AMOUNT = "amount"
TIME = "time"

_ASKS_AMOUNT = re.compile(
    r"\b(?:wie\s*viel\w*|wieviel\w*|was\s+kost\w*|kosten|kostet|teuer|preis\w*|tarif\w*|wie\s+hoch"
    r"|w[ée]i\s*vill?|kascht\w*|k[äa]scht\w*|deier|w[ée]i\s+h[éi]ich|präis\w*"
    r"|how\s+(?:much|many|high)|cost\w*|price\w*|charge[sd]?"
    r"|combien|co[ûu]t\w*|prix|cher|quel\s+est\s+le\s+(?:montant|taux|tarif))(?!\w)",
    re.I,
)
_ASKS_TIME = re.compile(
    r"\b(?:wann|frist\w*|um\s+wie\s*viel\s+uhr|wie\s+lange|öffnungszeit\w*|uhrzeit|termin\w*"
    r"|w[ée]ini|fr[ëe]scht\w*|wéi\s+laang\w*|"
    r"when|deadline\w*|how\s+(?:long|soon|early|late)|what\s+time|opening\s+hours|what\s+day\w*"
    r"|quand|d[ée]lai\w*|date\s+limite|combien\s+de\s+temps|quelle\s+heure|horaire\w*|quels?\s+jours?)(?!\w)",
    re.I,
)
_MONTHS = (
    "januar februar märz april mai juni juli august september oktober november dezember "
    "janvier février mars avril juin juillet août septembre octobre novembre décembre "
    "january february march may june july october december "
    "januar februar mäerz abrëll mee juni juli august dezember"
)
_DAYS = (
    "montag\\w* dienstag\\w* mittwoch\\w* donnerstag\\w* freitag\\w* samstag\\w* sonntag\\w* "
    "lundis? mardis? mercredis? jeudis? vendredis? samedis? dimanches? "
    "mondays? tuesdays? wednesdays? thursdays? fridays? saturdays? sundays? "
    "méindeg\\w* dënschdeg\\w* mëttwoch\\w* donneschdeg\\w* freideg\\w* samschdeg\\w* sonndeg\\w*"
)
_UNITS = (
    "tage?n? wochen? monate?n? jahre?n? stunden? minuten uhr werktage?n? arbeitstage?n? "
    "jours? semaines? mois ans? années? heures? minutes? h "
    "days? weeks? months? years? hours? working am pm "
    "deeg woche? méint joer stonnen? minutten auer"
)
_SHOWS_AMOUNT = re.compile(
    r"\d|\b(?:kostenlos\w*|kostenfrei\w*|gratis|gebührenfrei\w*|gratuit\w*|free|no\s+charge|fräi|ëmsoss)\b",
    re.I,
)
_SHOWS_TIME = re.compile(
    rf"\b(?:{'|'.join(sorted({*_MONTHS.split(), *_DAYS.split()}))})\b"
    rf"|\d\s*(?:{'|'.join(_UNITS.split())})\b|\d{{1,2}}[:.h]\d{{2}}|\d{{1,2}}\.\s?\d{{1,2}}\."
    r"|\b(?:täglich|jederzeit|quotidien\w*|daily|all\s+year|deeglech|spätestens|au\s+plus\s+tard|at\s+the\s+latest)\b",
    re.I,
)
# Asking words that name the kind of answer, not its topic; evidence of the kind stands for them.
_KIND_WORDS = re.compile(f"{_ASKS_AMOUNT.pattern}|{_ASKS_TIME.pattern}", re.I)


def parts(question: str) -> tuple[Part, ...]:
    """Split a compound question; a part too short to stand alone borrows its forerunner's words."""
    pieces = [piece.strip(" ,;") for piece in _BETWEEN.split(question)]
    pieces = [piece for piece in pieces if any(char.isalnum() for char in piece)]
    if not pieces:
        return (Part(question.strip(), question.strip()),)
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


def kind(question: str) -> str | None:
    """AMOUNT, TIME, or None when the question does not say."""
    time, amount = _ASKS_TIME.search(question), _ASKS_AMOUNT.search(question)
    if time and (not amount or time.start() <= amount.start()):
        return TIME
    return AMOUNT if amount else None


def shows(kind: str, sentence: str) -> bool:
    """Whether ``sentence`` holds something of that kind."""
    pattern = _SHOWS_AMOUNT if kind == AMOUNT else _SHOWS_TIME
    return pattern.search(sentence) is not None
