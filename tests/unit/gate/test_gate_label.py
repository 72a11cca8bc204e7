from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.errors import Invalid, Refused
from casemate.gate.country import Country
from casemate.gate.label import Label, LabelPolicy, Level, clearance

LU = Country.load("lu").policy
SCALE = LU.scale
OTHER = LabelPolicy("eu", (Level("open", {"en": "O"}, {"en": "o"}),), "open", "EU", {"en": "REL"})


@st.composite
def all_labels(draw: st.DrawFn) -> Label:
    """Labels of every policy of the pack, with all that can stand in one."""
    policy = draw(st.sampled_from(list(SCALE.policies.values())))
    binding = {one.id for one in SCALE.policies.values() if one.binds}
    also = draw(st.frozensets(st.sampled_from(sorted(binding - {policy.id}))))
    parts = {"alpha", "beta", "gamma-2"}
    parts |= {f"{id}.atomal" for id in also | (binding & {policy.id})}
    return Label(
        policy,
        draw(st.sampled_from([level.id for level in policy.levels])),
        draw(st.frozensets(st.sampled_from(sorted(parts)))),
        draw(st.none() | st.frozensets(st.sampled_from(["LU", "FR", "NATO"]))),
        also,
    )


labels = all_labels()


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
    expected = (
        rung_of(b) <= rung_of(a) and b.compartments <= a.compartments and briefed(b) <= briefed(a)
    )
    assert a.dominates(b) == (expected and releasable)


def rung_of(label: Label) -> int:
    (found,) = (
        number
        for number, rung in enumerate(SCALE.rungs)
        if f"{label.policy.id}:{label.level}" in rung
    )
    return found


def briefed(label: Label) -> frozenset[str]:
    return label.also | ({label.policy.id} & {"eu", "nato"})


@given(labels, labels, labels)
def test_the_order_is_kept_by_join_and_meet(a: Label, b: Label, c: Label) -> None:
    higher = a.join(b)
    assert higher.join(c).dominates(b.join(c))
    assert a.meet(c).dominates(a.meet(b).meet(c))
    if c.dominates(a) and c.dominates(b):
        assert c.dominates(higher)


@given(labels, labels, labels)
def test_the_text_of_a_mixture_does_not_depend_on_the_order_of_mixing(
    a: Label, b: Label, c: Label
) -> None:
    assert str(a.join(b)) == str(b.join(a))
    assert str(a.join(b).join(c)) == str(a.join(b.join(c)))
    assert str(a.join(a)) == str(a)


@given(labels, labels)
def test_equal_labels_have_equal_hashes_and_dominate_each_other(a: Label, b: Label) -> None:
    assert (a == b) == (a.dominates(b) and b.dominates(a))
    if a == b:
        assert hash(a) == hash(b)


@given(labels, labels)
def test_releasability_only_shrinks_in_a_mixture(a: Label, b: Label) -> None:
    both = a.join(b).releasable_to
    for one in (a, b):
        if one.releasable_to is not None:
            assert both is not None
            assert both <= one.releasable_to


@given(labels)
def test_the_text_of_a_label_is_read_back_as_the_label(label: Label) -> None:
    assert LU.parse(str(label)) == label
    assert str(label) == str(LU.parse(str(label)))
    assert not set(str(label)) & set(" '\"\\$`&|;<>()*?[]#~!{}\n")


@given(labels)
def test_the_lowest_label_is_dominated_by_all_of_every_policy(label: Label) -> None:
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
        ("xx:secret", "'xx'"),
        ("lu:secret+lu", "'lu'"),
        ("lu:secret+internal", "'internal'"),
        ("nato:secret+nato", "'nato'"),
        ("lu:secret+", "''"),
        ("lu:secret+eu+eu", "twice"),
        ("lu:secret/nato.atomal", "'nato.atomal'"),
        ("nato:geheim", "'geheim'"),
        ("lu:secret//rel=LUX", "LU"),
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


# Across policies


@pytest.mark.parametrize(
    ("clearance_text", "document", "may"),
    [
        ("lu:restricted", "internal:strictly-confidential", True),
        ("lu:unclassified", "internal:internal", False),
        ("lu:unclassified", "internal:public", True),
        ("internal:public", "lu:unclassified", True),
        ("internal:strictly-confidential", "lu:restricted", False),
        ("lu:secret", "nato:secret", False),  # not briefed for NATO
        ("lu:secret+nato", "nato:secret", True),
        ("lu:secret+nato", "nato:top-secret", False),
        ("lu:secret+nato", "eu:restricted", False),
        ("nato:secret", "lu:secret", True),  # as high, and of the house there is nothing to know
        ("eu:restricted", "lu:restricted+eu", True),
        ("lu:secret+nato", "nato:secret/nato.atomal", False),
        ("lu:secret+nato/nato.atomal", "nato:secret/nato.atomal", True),
        ("lu:secret+eu+nato", "lu:secret+nato+eu", True),
    ],
)
def test_levels_of_other_policies_are_read_by_their_equivalences(
    clearance_text: str, document: str, may: bool
) -> None:
    assert LU.parse(clearance_text).dominates(LU.parse(document)) is may


@pytest.mark.parametrize(
    ("one", "other", "mixture"),
    [
        ("lu:unclassified", "nato:secret", "nato:secret"),
        ("lu:secret", "nato:restricted", "lu:secret+nato"),
        ("lu:secret", "nato:secret", "lu:secret+nato"),
        ("eu:secret", "nato:secret", "eu:secret+nato"),
        ("lu:unclassified", "internal:confidential", "internal:confidential"),
        ("lu:unclassified", "internal:public", "lu:unclassified"),
        ("lu:restricted//rel=FR,LU", "eu:secret//rel=LU", "eu:secret//rel=LU"),
    ],
)
def test_a_mixture_keeps_the_policies_that_bind(one: str, other: str, mixture: str) -> None:
    assert str(LU.parse(one).join(LU.parse(other))) == mixture


def test_what_is_left_of_a_clearance_is_said_in_the_words_of_the_house() -> None:
    assert str(LU.parse("nato:restricted").meet(LU.parse("secret"))) == "lu:restricted"
    assert str(LU.parse("secret+nato").meet(LU.parse("nato:restricted"))) == "nato:restricted"


def test_the_marking_of_a_mixture_names_the_other_policies() -> None:
    assert LU.parse("secret+eu+nato").marking() == "SECRET LUX // EU, NATO"
    assert LU.parse("nato:secret/nato.atomal").marking() == "NATO SECRET // ATOMAL"
    assert LU.parse("nato:top-secret").marking("fr") == "COSMIC TOP SECRET"
    assert LU.parse("eu:restricted").marking("de") == "RESTREINT UE/EU RESTRICTED"
    assert LU.parse("internal:internal").marking("lb") == "INTERN"


def test_a_policy_object_of_another_policy_reads_bare_levels_as_its_own() -> None:
    assert str(SCALE.policies["eu"].parse("restricted")) == "eu:restricted"
