"""An answer ends before a text that its asker named, wherever the pieces of it are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from casemate.engines.engine import Token, ToolCall
from casemate.reasoning.rounds import Stop

LETTERS = st.text("ab\n", max_size=12)


def told(stop: Stop, tokens: list[Token]) -> list[Token]:
    found: list[Token] = []
    for token in tokens:
        found += stop.feed(token)
        if stop.met:
            return found
    rest = stop.rest()
    return found if rest is None else [*found, rest]


@given(st.lists(LETTERS, max_size=8), st.lists(LETTERS.filter(bool), max_size=3))
def test_what_is_told_is_the_text_before_the_first_of_them(
    pieces: list[str], texts: list[str]
) -> None:
    whole = "".join(pieces)
    ends = [whole.find(text) for text in texts if text in whole]
    # A longer text may be met although a shorter one begins later: the first that is whole ends it.
    stop = Stop(tuple(texts))
    said = "".join(token.text for token in told(stop, [Token(piece) for piece in pieces]))
    assert stop.met == bool(ends)
    assert whole.startswith(said)
    if not ends:
        assert said == whole
    else:
        assert not any(text in said for text in texts)
        assert any(whole[len(said) :].startswith(text) for text in texts)


def test_thinking_and_calls_pass_in_their_order() -> None:
    call = Token("", "call", call=ToolCall("1", "f", "{}"))
    tokens = [Token("EN", "thinking"), Token("E"), call, Token("N"), Token("END")]
    assert told(Stop(("END",)), tokens) == [*tokens[:3], Token("N")]


def test_copied_words_keep_the_place_that_they_were_copied_from() -> None:
    copied = Token("The fee is due. END", evidence=1, start=10)
    (left,) = told(Stop(("END",)), [copied])
    assert (left.text, left.evidence, left.start) == ("The fee is due. ", 1, 10)
