"""Names in filters: whatever somebody types stays one value, as another parser reads it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from ldap3.operation.search import AND, MATCH_EQUAL, parse_filter
from ldap3.protocol.convert import prepare_filter_for_sending, validate_assertion_value

from casemate.gate.ldap import escaped

_SIGNS = st.one_of(st.text(), st.text(alphabet="\\*()&|!=<>~/\x00 a2"))


@given(_SIGNS.filter(lambda text: not any("\ud800" <= sign <= "\udfff" for sign in text)))
def test_a_name_in_a_filter_is_one_value_and_adds_nothing(name: str) -> None:
    if not name.strip():
        return  # this parser strips space, which is what a directory ignores as well
    text = f"(&(objectClass=person)(uid={escaped(name)}))"
    (both,) = parse_filter(text, None, True, True, None, False).elements
    assert both.tag == AND
    first, second = both.elements
    assert first.tag == second.tag == MATCH_EQUAL
    assert second.assertion["attr"] == "uid"
    checked = validate_assertion_value(
        None, "uid", second.assertion["value"], True, True, None, False
    )
    assert prepare_filter_for_sending(checked).strip() == name.strip().encode()
