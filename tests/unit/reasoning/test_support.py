"""Support: what a passage carries, and what it does not."""

from __future__ import annotations

import pytest

from casemate.reasoning.support import supporting

PASSAGE = (
    "The dog tax is 40 euros a year. It is due on 1 March 2026. "
    "Ms Weber at the desk for dogs answers questions. Guide dogs are not taxed. "
    "Die Hundesteuer wird von der Gemeinde Bergdorf erhoben."
)


@pytest.mark.parametrize(
    ("claim", "carrier"),
    [
        ("A dog costs a tax of 40 euros every year.", "The dog tax is 40 euros a year."),
        ("Guide dogs are not taxed.", "Guide dogs are not taxed."),
        ("Questions are answered by Ms Weber at the desk.", "Ms Weber at the desk for dogs"),
        ("Die Gemeinde Bergdorf erhebt die Hundesteuer.", "Die Hundesteuer wird"),
        ("The dog tax of 40 euros is due on 1 March 2026.", "The dog tax is 40 euros a year. It"),
    ],
)
def test_other_words_for_the_same_are_carried(claim: str, carrier: str) -> None:
    found = supporting(claim, PASSAGE)
    assert found is not None
    assert PASSAGE[found[0] : found[1]].startswith(carrier)


@pytest.mark.parametrize(
    "claim",
    [
        "The dog tax is 41 euros a year.",
        "The dog tax is not 40 euros a year.",
        "Guide dogs are taxed.",
        "The cat licence is 40 euros a year.",
        "It is due on 1 March 2027.",
        "Questions are answered by Ms Weiler at the desk.",
        "The mayor decides.",
        "",
        "...",
        "Die Hundesteuer wird von der Gemeinde Talheim erhoben.",
    ],
)
def test_another_figure_name_or_denial_is_not(claim: str) -> None:
    assert supporting(claim, PASSAGE) is None
