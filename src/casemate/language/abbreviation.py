"""Words around a full stop that tell whether it ends a sentence.

German, French, English and Luxembourgish together, lower case and without the full stop, as
administrations use them.
"""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Something always follows these, whatever it looks like.
ALWAYS: Final = _words(
    "dr prof mme mlle mmes mm mr mrs ms st ste hr hrn bzw ca vgl cf evtl ggf ggfs inkl exkl incl "
    "excl zzgl abzgl dipl sog bspw resp approx env av ave bd boul blvd pl rte hrsg geb zzt dgl vs "
    "dept govt gem gemäss gesetzl einschl insb insbes mgr c.-à-d z.b z.t d.h p.ex e.g i.e u.u "
    "i.d.r m.a.w n.chr v.chr i.v.m i.s.d s.o n.b viz"
)

# The same, but only with a capital: in lower case they are words.
WITH_CAPITAL: Final = frozenset(
    {"Me", "Mag", "Mo", "Di", "Mi", "Do", "Fr", "Sa", "So", "Ing", "Lic"}
)

# A number, a letter or a reference follows; before an ordinary capitalised word they are the end.
BEFORE_A_NUMBER: Final = _words(
    "nr nrn no nos art artt abs al alin ziff kap pp bl fig abb tab sec sect ch chap par lit let "
    "vol tel tél fax ext rn lfd anm bst tit anh anl beil ed éd etc usw usf asw ff co inc ltd corp "
    "jh jhd jhdt std min sek max mio mrd str jr sr jan feb febr mär mrz apr jun jul aug sep sept "
    "okt oct nov dez dec déc janv févr avr juil"
)

# These end a sentence as soon as a capital follows.
BEFORE_A_CAPITAL: Final = _words("a.m p.m u.s.w u.a u.ä o.ä s.a a.s.b.l")

# Words before which "3." is an ordinal: "am 3.", "der 2.", "vum 1.".
BEFORE_AN_ORDINAL: Final = _words(
    "der die das den dem des am im vom zum zur beim bis ab seit jeder jede jedes jeden jedem diese "
    "dieser dieses diesem diesen sein seine seiner seinem seinen ihr ihre ihrer ihrem ihren mein "
    "meine meiner unser unsere unserer kein keine ein eine eines einem einen einer und oder an "
    "de d' d’ um vum op bei all dëser dëse dëst säin seng sengem hir hire eis eise nom "
    "virum"
)

# Words before which a single letter or number is a name: "Anlage A.", "article 5.".
BEFORE_A_LETTER: Final = _words(
    "buchstabe buchst littera lettre letter anlage anhang annexe annex appendix zone plan vitamin "
    "teil partie part typ type kategorie catégorie category klasse classe class gruppe groupe "
    "group option block bloc niveau level schedule section sektioun beilage bâtiment gebäude "
    "building lot étage halle punkt point nummer numéro number absatz alinéa paragraph paragraphe "
    "artikel article kapitel chapitre chapter seite page stufe phase"
)

MONTHS: Final = _words(
    "januar jänner jan februar feber feb februar märz mäerz mär april abrëll apr mai mee juni jun "
    "juli jul august aug september sep sept oktober okt november nov dezember dez janvier février "
    "mars avril juin juillet août septembre octobre novembre décembre january february march may "
    "june july october december"
)

# Words that begin a sentence with a capital and stand in lower case within one.
OPENERS_OF_SENTENCES: Final = _words(
    "der die das den dem des ein eine einen einem einer es er sie wir ihr man wer was wie wo wann "
    "warum wenn falls sofern sobald solange während bevor nachdem weil da damit dann danach davon "
    "dafür dabei daher deshalb jedoch aber auch und oder denn doch sonst ansonsten bei für mit "
    "nach von vor in im am an auf aus über unter zu zum zur bis seit ohne durch gegen um zwischen "
    "diese dieser dieses diesen diesem jede jeder jedes jeden alle kein keine nicht nur als ob so "
    "hier dort dies hierfür "
    "le la les l un une des du au aux ce cet cette ces il elle ils elles on nous vous je tu qui "
    "que quand si lorsque pour par dans sur sous avec sans chez en et ou mais donc car ainsi tout "
    "toute tous toutes chaque aucun aucune votre notre leur son sa ses après avant pendant depuis "
    "the a an this that these those it he she they we you who which when if where how there here "
    "for from with without by at on to of but or all each every no not any your our their please "
    "after before during until unless "
    "d de dëst dës dëse dëser deen déi dat et hien si hatt mir dir dier ech een eng engem enger "
    "wann wa wien wat wéi wou fir mat vun op no bei virun ouni duerch géint awer och oder all "
    "jidder jiddereen keen keng net nëmmen hei do duerno dofir"
)
