from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.errors import Invalid, Refused
from casemate.gate.country import Country
from casemate.gate.label import Label, LabelPolicy, Level, clearance

LU = Country.load("lu").policy
OTHER = LabelPolicy("eu", (Level("open", {"en": "O"}, {"en": "o"}),), "open", "EU", {"en": "REL"})

labels = st.builds(
    Label,
    st.just(LU),
    st.sampled_from([level.id for level in LU.levels]),
    st.frozensets(st.sampled_from(["alpha", "beta", "gamma-2"])),
    st.none() | st.frozensets(st.sampled_from(["LU", "FR", "NATO"])),
)


@given(labels, labels, labels)
def test_join_and_meet_form_a_distributive_lattice(a: Label, b: Label, c: Label) -> None:
    assert a.join(b) == b.join(a)
    assert a.meet(b) == b.meet(a)
    assert a.join(b).join(c) == a.join(b.join(c))
    assert a.meet(b).meet(c) == a.meet(b.meet(c))
    assert a.join(a) == a.meet(a) == a
    assert a.join(a.meet(b)) == a.meet(a.join(b)) == a
    assert a.meet(b.join(c)) == a.meet(b).join(a.meet(c))


@given(labels, labels, labels)
def test_dominance_is_the_order_of_the_lattice(a: Label, b: Label, c: Label) -> None:
    assert a.dominates(a)
    assert a.dominates(b) == (a.join(b) == a) == (a.meet(b) == b)
    if a.dominates(b) and b.dominates(a):
        assert a == b
    if a.dominates(b) and b.dominates(c):
        assert a.dominates(c)
    if a.dominates(c) and b.dominates(c):
        assert a.meet(b).dominates(c)


@given(labels, labels)
def test_the_label_of_a_mixture_only_rises(a: Label, b: Label) -> None:
    assert a.join(b).dominates(a)
    assert a.join(b).dominates(b)
    assert a.dominates(a.meet(b))


@given(labels, labels)
def test_dominance_says_what_the_design_says(a: Label, b: Label) -> None:
    releasable = b.releasable_to is None or (
        a.releasable_to is not None and a.releasable_to <= b.releasable_to
    )
    expected = LU.rank(b.level) <= LU.rank(a.level) and b.compartments <= a.compartments
    assert a.dominates(b) == (expected and releasable)


@given(labels)
def test_the_text_of_a_label_is_read_back_as_the_label(label: Label) -> None:
    assert LU.parse(str(label)) == label
    assert str(label) == str(LU.parse(str(label)))
    assert not set(str(label)) & set(" '\"\\$`&|;<>()*?[]#~!{}\n")


@given(labels)
def test_the_lowest_label_is_dominated_by_all(label: Label) -> None:
    assert label.dominates(LU.lowest())


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("restricted", "lu:restricted"),
        ("lu:secret/beta,alpha", "lu:secret/alpha,beta"),
        ("secret//rel=LU,FR", "lu:secret//rel=FR,LU"),
        ("lu:top-secret/a//rel=none", "lu:top-secret/a//rel=none"),
    ],
)
def test_a_label_has_one_canonical_text(text: str, canonical: str) -> None:
    assert str(LU.parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "''"),
        ("geheim", "'geheim'"),
        ("SECRET", "'SECRET'"),
        ("eu:secret", "'eu'"),
        ("lu:secret/", "''"),
        ("lu:secret/Alpha", "'Alpha'"),
        ("lu:secret/a,", "''"),
        ("lu:secret/a,a", "twice"),
        ("lu:secret/-a", "'-a'"),
        ("lu:secret//rel=", "''"),
        ("lu:secret//rel=lu", "'lu'"),
        ("lu:secret//rel=LU,none", "'none'"),
        ("lu:secret//rel=LU//rel=FR", "not a label"),
        ("lu:secret\n", "secret\\n"),
        ("lu:lu:secret", "not a label"),
        ("lu:secret " + "x" * 5000, "not a label"),
        ("2", "'2'"),
    ],
)
def test_what_is_not_a_label_is_refused_by_its_wrong_part(text: str, part: str) -> None:
    with pytest.raises(Invalid) as caught:
        LU.parse(text)
    assert part in caught.value.what
    assert caught.value.next


def test_an_unknown_level_is_answered_with_the_levels_there_are() -> None:
    with pytest.raises(Invalid, match="unclassified, restricted, confidential, secret, top-secret"):
        LU.parse("geheim")


def test_a_label_with_a_bad_part_cannot_be_built_either() -> None:
    for bad in (
        lambda: Label(LU, "geheim"),
        lambda: Label(LU, "secret", frozenset({"A B"})),
        lambda: Label(LU, "secret", frozenset(), frozenset({"lu"})),
    ):
        with pytest.raises(Invalid):
            bad()


def test_labels_of_two_policies_never_mix() -> None:
    ours, theirs = LU.lowest(), OTHER.lowest()
    assert not ours.dominates(theirs)
    assert not theirs.dominates(ours)
    with pytest.raises(Refused, match="eu"):
        ours.join(theirs)
    with pytest.raises(Refused):
        ours.meet(theirs)


def test_a_clearance_that_says_nothing_of_the_person_reads_nothing_restricted_to_some() -> None:
    assert not LU.parse("top-secret").dominates(LU.parse("unclassified//rel=LU"))
    assert LU.parse("unclassified//rel=LU").dominates(LU.parse("unclassified//rel=LU,FR"))
    assert not LU.parse("secret//rel=BE").dominates(LU.parse("unclassified//rel=LU,FR"))


def test_a_clearance_releasable_to_nobody_is_refused_because_it_would_read_all() -> None:
    nobody = LU.parse("secret//rel=none")
    assert nobody.dominates(LU.parse("secret//rel=LU"))
    with pytest.raises(Invalid, match="nobody"):
        clearance(nobody)


def test_people_see_the_words_of_the_law_with_their_own_country_first() -> None:
    label = LU.parse("restricted/alpha//rel=FR,BE,LU")
    assert label.marking() == "RESTREINT LUX // ALPHA // REL TO LU, BE, FR"
    assert label.marking("de") == "RESTREINT LUX // ALPHA // FREIGEGEBEN FÜR LU, BE, FR"
    assert LU.parse("top-secret").marking("lb") == "TRÈS SECRET LUX"
    assert LU.lowest().marking("fr") == "NON CLASSIFIÉ"
    assert LU.lowest().marking("xx") == "UNCLASSIFIED"
