"""The words of the pages, in each language, and how that language writes numbers and dates.

One TOML file a language, with the same keys. ``key_one`` and ``key_other`` are the two plurals
that English, French, German and Luxembourgish need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.resources import files

import msgspec

LANGUAGES = ("lb", "fr", "de", "en")
DEFAULT = "en"


@dataclass(frozen=True)
class Words:
    """The words of one language: ``words("ask.title")``, ``words("runs.count", count=3)``."""

    language: str
    entries: Mapping[str, str] = field(repr=False)

    def __call__(self, key: str, **values: object) -> str:
        """The words under ``key``, with ``values`` in their places; ``count`` picks the plural.

        Raises KeyError for a key or a place that does not exist: a page with a hole in it is a
        mistake of ours, which the tests find.
        """
        if "count" in values and key not in self.entries:
            key += "_one" if self._is_one(values["count"]) else "_other"
        return self.entries[key].format(
            **{
                name: self.number(value) if type(value) is int else value
                for name, value in values.items()
            }
        )

    def number(self, value: int) -> str:
        """A whole number with this language's thousands separator."""
        return f"{value:,}".replace(",", self.entries["format.thousands"])

    def day(self, time: str) -> str:
        """The date of an ISO 8601 time, as people write it."""
        moment = datetime.fromisoformat(time)
        month = self.entries["format.months"].split()[moment.month - 1]
        return self.entries["format.date"].format(day=moment.day, month=month, year=moment.year)

    def moment(self, time: str) -> str:
        """Date and time of an ISO 8601 time; the zone is named, since a record is in UTC."""
        return f"{self.day(time)}, {datetime.fromisoformat(time):%H:%M} UTC"

    def size(self, amount: int) -> str:
        """A number of bytes in the unit that suits it."""
        value, unit = float(amount), "B"
        for unit in ("B", "kB", "MB", "GB"):
            if value < 1000 or unit == "GB":
                break
            value /= 1000
        shown = f"{value:.1f}" if unit != "B" and value < 10 else f"{value:.0f}"
        return f"{shown.replace('.', self.entries['format.decimal'])} {unit}"

    def _is_one(self, count: object) -> bool:
        return count == 1 or (count == 0 and self.language == "fr")


@cache
def words(language: str) -> Words:
    """The words of one of ``LANGUAGES``."""
    raw = files("casemate.web").joinpath("words", f"{language}.toml").read_bytes()
    tree = msgspec.toml.decode(raw, type=dict[str, dict[str, str]])
    return Words(
        language,
        {f"{part}.{key}": text for part, keys in tree.items() for key, text in keys.items()},
    )


def preferred(chosen: str | None, accepted: str, offered: Iterable[str] = LANGUAGES) -> str:
    """The language to speak: the one chosen, else the best accepted, else the default.

    accepted: an Accept-Language header. Source: RFC 9110, 12.5.4 (only primary subtags are told
    apart: fr-LU is French).
    """
    known = tuple(offered)
    if chosen in known:
        return chosen
    best, best_quality = DEFAULT, 0.0
    for part in accepted.split(","):
        tag, _, parameter = part.strip().partition(";")
        language = tag.strip().split("-")[0].lower()
        quality = _quality(parameter)
        if language in known and quality > best_quality:
            best, best_quality = language, quality
    return best


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if not name:
        return 1.0
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
