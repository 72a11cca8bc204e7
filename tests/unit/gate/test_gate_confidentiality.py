"""Labels that travel: STANAG 4774 XML there and back, and what is not taken."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_gate_label import all_labels

from casemate.errors import Invalid, TooLarge
from casemate.gate.confidentiality import (
    LARGEST,
    NAMESPACE,
    ORIGINATOR_KINDS,
    Confidentiality,
    Originator,
)
from casemate.gate.country import Country

LU = Country.load("lu").policy

moments = st.datetimes(
    min_value=datetime(1990, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)
).map(lambda moment: moment.replace(microsecond=0))
names = (
    st.text(
        st.characters(exclude_categories=("C", "Z"), include_characters=" "),
        min_size=1,
        max_size=60,
    )
    .map(lambda text: " ".join(text.split()))
    .filter(bool)
)
confidentialities = st.builds(
    Confidentiality,
    all_labels(),
    moments,
    st.none() | moments,
    st.none() | st.builds(Originator, st.sampled_from(ORIGINATOR_KINDS), names),
)

NATIONAL = f"""<?xml version="1.0" encoding="UTF-8"?>
<slab:originatorConfidentialityLabel xmlns:slab="{NAMESPACE}"
    ReviewDateTime="2031-09-26T02:00:00+02:00">
  <slab:ConfidentialityInformation>
    <slab:PolicyIdentifier>LUXEMBOURG</slab:PolicyIdentifier>
    <slab:Classification>RESTRICTED</slab:Classification>
    <slab:Category Type="RESTRICTIVE" TagName="Need To Know">
      <slab:GenericValue>ALPHA</slab:GenericValue>
    </slab:Category>
    <slab:Category Type="PERMISSIVE" TagName="Releasable To">
      <slab:GenericValue>LUX</slab:GenericValue>
      <slab:GenericValue>FRA</slab:GenericValue>
    </slab:Category>
  </slab:ConfidentialityInformation>
  <slab:OriginatorID IDType="rfc822Name">author@example.org</slab:OriginatorID>
  <slab:CreationDateTime>2026-09-26T12:00:00Z</slab:CreationDateTime>
</slab:originatorConfidentialityLabel>
"""


def read(text: str) -> Confidentiality:
    return Confidentiality.parse(text.encode(), LU)


@given(confidentialities)
def test_what_is_written_is_read_back(one: Confidentiality) -> None:
    back = Confidentiality.parse(one.xml(), LU)
    assert back == one
    assert str(back.label) == str(one.label)
    assert back.xml() == one.xml()


def test_a_label_from_elsewhere_is_read() -> None:
    found = read(NATIONAL)
    assert str(found.label) == "lu:restricted/alpha//rel=FR,LU"
    assert found.review == datetime(2031, 9, 26, tzinfo=UTC)
    assert found.created == datetime(2026, 9, 26, 12, tzinfo=UTC)
    assert found.originator == Originator("rfc822Name", "author@example.org")


def test_upper_and_lower_case_mean_the_same_in_a_label() -> None:
    lower = NATIONAL
    for word in ("LUXEMBOURG", "RESTRICTED", "ALPHA", "FRA"):
        lower = lower.replace(f">{word}<", f">{word.lower()}<")
    assert read(lower) == read(NATIONAL)


def test_a_label_of_nato_names_its_context_and_its_own_compartments() -> None:
    label = LU.parse("nato:secret/alpha,nato.atomal//rel=LU,NATO")
    written = Confidentiality(label, datetime(2026, 1, 1, tzinfo=UTC)).xml().decode()
    assert 'URI="urn:oid:1.3.26.1.3.1">NATO<' in written
    assert 'TagName="Context" URI="urn:oid:1.3.26.1.4.4"' in written
    assert 'TagName="Additional Sensitivity"><s4774:GenericValue>ATOMAL<' in written
    assert 'TagName="Need To Know"><s4774:GenericValue>ALPHA<' in written
    assert ">LUX<" in written


def test_an_empty_list_of_communities_is_nobody() -> None:
    nobody = LU.parse("secret//rel=none")
    one = Confidentiality(nobody, datetime(2026, 1, 1, tzinfo=UTC))
    assert Confidentiality.parse(one.xml(), LU).label == nobody


def test_what_only_informs_is_passed_over() -> None:
    informed = NATIONAL.replace(
        "  </slab:ConfidentialityInformation>",
        '<slab:Category Type="INFORMATIVE" TagName="Administrative">'
        "<slab:GenericValue>STAFF</slab:GenericValue></slab:Category>"
        "</slab:ConfidentialityInformation>",
    )
    assert read(informed) == read(NATIONAL)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ('<?xml version="1.0" encoding="UTF-8"?>', "<!DOCTYPE a>", "a document type"),
        (
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]>',
            "a document type",
        ),
        (
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
            "a document type",
        ),
        ('<?xml version="1.0" encoding="UTF-8"?>', "<?go there?>", "a processing instruction"),
        ("ALPHA", "&alpha;", "not XML"),
        ("</slab:OriginatorID>", "", "not XML"),
        (NAMESPACE, "urn:nato:stanag:4774:confidentialitymetadatalabel:2:0", "another namespace"),
        ("originatorConfidentialityLabel", "alternativeConfidentialityLabel", "begins with"),
        ("LUXEMBOURG", "RURITANIA", "'RURITANIA', which is not known"),
        ("RESTRICTED", "GEHEIM", "no classification 'GEHEIM'"),
        ('"RESTRICTIVE"', '"restrictive"', "type 'restrictive'"),
        ('Type="RESTRICTIVE" ', "", "no Type"),
        ('"Need To Know"', '"Special Handling"', "'Special Handling' that cannot be honoured"),
        ('"Releasable To"', '"Only"', "'Only' that cannot be honoured"),
        ('"PERMISSIVE"', '"RESTRICTIVE"', "cannot be honoured"),
        (">ALPHA<", ">AL PHA<", "'al phà'|al pha"),
        (">ALPHA<", "><", "not a compartment"),
        (">FRA<", ">LUX<", "a value twice"),
        (">FRA<", ">F1<", "not a community"),
        ('IDType="rfc822Name"', 'IDType="telephone"', "'telephone' is no kind"),
        ('IDType="rfc822Name"', 'Colour="red"', "attribute 'Colour'"),
        ("2026-09-26T12:00:00Z", "2026-09-26", "CreationDateTime is not a time"),
        ("2026-09-26T12:00:00Z", "2026-09-26T12:00:00", "CreationDateTime is not a time"),
        ("2026-09-26T12:00:00Z", "2026-13-26T12:00:00Z", "CreationDateTime is not a time"),
        ("2026-09-26T12:00:00Z", "0001-01-01T00:00:00+23:00", "CreationDateTime is not a time"),
        ("2031-09-26T02:00:00+02:00", "soon", "ReviewDateTime is not a time"),
        ("<slab:Classification>RESTRICTED</slab:Classification>", "", "has no Classification"),
        (
            "<slab:Classification>RESTRICTED</slab:Classification>",
            "<slab:Classification>RESTRICTED</slab:Classification>" * 2,
            "more than once",
        ),
        ("<slab:GenericValue>ALPHA</slab:GenericValue>", "", "cannot be honoured"),
        ("<slab:GenericValue>ALPHA</slab:GenericValue>", "ALPHA", "text of its own"),
        (">ALPHA</slab:GenericValue>", "><slab:IntegerValue/></slab:GenericValue>", "IntegerValue"),
        (
            "</slab:CreationDateTime>",
            "</slab:CreationDateTime><slab:SuccessionHandling><slab:SuccessionDateTime>"
            "2027-01-01T00:00:00Z</slab:SuccessionDateTime></slab:SuccessionHandling>",
            "SuccessionHandling",
        ),
    ],
)  # fmt: skip
def test_a_label_that_is_wrong_or_cannot_be_honoured_is_refused_by_name(
    old: str, new: str, part: str
) -> None:
    assert old in NATIONAL
    with pytest.raises(Invalid, match=part) as caught:
        read(NATIONAL.replace(old, new))
    assert caught.value.next


def test_more_than_its_bound_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLarge):
        read(NATIONAL + " " * LARGEST)


def test_many_or_deep_elements_are_refused() -> None:
    for many in ("<a>" * 40 + "</a>" * 40, "<a/>" * 2000):
        with pytest.raises(Invalid, match="too many elements"):
            read(f'<r xmlns="{NAMESPACE}">{many}</r>')


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_anything_else_is_refused_and_never_an_accident(content: bytes) -> None:
    with pytest.raises(Invalid):
        Confidentiality.parse(content, LU)


@given(st.data())
def test_a_label_with_a_changed_byte_is_refused_or_means_what_it_says(data: st.DataObject) -> None:
    content = bytearray(NATIONAL.encode())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    try:
        found = Confidentiality.parse(bytes(content), LU)
    except Invalid:
        return
    assert Confidentiality.parse(found.xml(), LU) == found


def test_a_policy_without_a_name_for_others_does_not_travel() -> None:
    silent = replace(LU, exchange=None)
    with pytest.raises(Invalid, match="no form that travels"):
        Confidentiality(silent.lowest(), datetime(2026, 1, 1, tzinfo=UTC)).xml()
