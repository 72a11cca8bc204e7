"""Words: folding, character n-grams and function words, for four languages without a model.

Character 4-grams need no language detection and cope with compounds and inflection; on German,
French and Luxembourgish sets they rank at least as well as stemmers. Function words (articles,
pronouns, prepositions, auxiliaries) carry no topic and are left out of queries.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from math import lcm

SIZE = 4  # characters in a gram
_WORD = re.compile(r"[^\W_]+(?:[’'][^\W_]+)?")

# Elided articles and pronouns stand before an apostrophe: l'école, d'Gemeng, qu'il.
_ELIDED = frozenset("c d j l m n qu s t jusqu lorsqu puisqu z".split())

FUNCTION_WORDS: dict[str, frozenset[str]] = {
    "de": frozenset(
        """der die das den dem des ein eine einen einem einer eines kein keine keinen und oder aber
        ich du er sie es wir ihr man mich mir dich dir sich uns euch ihm ihn ihnen mein meine meinen
        meinem meiner meines dein deine sein seine seinen seinem seiner ihre ihren ihrem ihrer unser
        unsere unseren euer dieser diese dieses diesen diesem jener jede jeder jedes jeden alle
        allen ist sind war waren bin bist seid wird werden wurde wurden worden habe hat haben hatte
        hatten kann kannst können könnte muss müssen musste soll sollen sollte darf dürfen will
        wollen möchte möchten mag wie was wer wen wem wo wohin woher wann warum weshalb wieso welche
        welcher welches welchen welchem wieviel viel viele in im an am auf aus bei beim mit nach von
        vom zu zum zur über unter vor hinter für gegen ohne um durch bis seit während wegen als ob
        wenn dass weil damit nicht auch nur noch schon sehr so da dann dort hier es gibt geben denn
        etwa mal bitte eigentlich überhaupt genau machen tun lassen bekomme bekommt bekommen
        brauche brauchen braucht welch pro je ab dazu dafür davon damit darauf daran darum hin her
        hierher paar ganz gar doch eben halt nun jetzt heute morgen gestern immer wieder nie oft
        etwas nichts jemand niemand alles anderer andere anderen selbst eigene eigenen beide gleich
        los mehr weniger lieber gern gerne unbedingt leider vielleicht möglich geht gehen ging komme
        kommen kommt bleiben bleibt stehen steht nehmen nimmt finden finde findet wissen weiß sagen
        zahle zahlen zahlt bezahlen bezahle verlangt verlangen passiert läuft laut ohnehin
        bereits zwar wäre würde würden""".split()
    ),
    "fr": frozenset(
        """le la les un une des du de d l au aux et ou mais donc or ni car je tu il elle on nous
        vous
        ils elles me te se lui leur leurs y en mon ma mes ton ta tes son sa ses notre nos votre vos
        ce cet cette ces cela ça qui que quoi dont où quel quelle quels quelles quand comment
        combien pourquoi est es suis sommes êtes sont était étaient être été sera seront ai as a
        avons avez ont avait avoir eu peut peux pouvons pouvez peuvent pouvoir doit dois devons
        devez doivent devoir faut fait faire faites font vais va allons allez vont aller veux veut
        voulez dans sur sous avec sans pour par vers chez entre depuis pendant avant après jusque
        jusqu si ne pas plus très aussi même tout toute tous toutes y si est-ce ceci celui celle
        quelqu chaque moi toi là ici alors puis quelque quelques chose choses rien personne autre
        autres encore déjà toujours jamais souvent bien mal trop peu beaucoup assez combien mieux
        moins afin cependant pourtant vraiment seulement vient viens venir veulent vouloir prend
        prends prendre met mets mettre donne donner trouve trouver dire dit sait savoir reste rester
        passe passer payer paie paye paient demande demander existe exister obtenir gens
        serait aurait pourrait pourrais voudrais aimerais""".split()
    ),
    "en": frozenset(
        """the a an and or but nor so yet i you he she it we they me him her us them my your his its
        our their mine yours this that these those who whom whose which what when where why how is
        am are was were be been being do does did done doing have has had having can could may might
        must shall should will would in on at to for from of off by with without about into onto
        over under up down out through during before after between until till since than then there
        here if as because while not no any some many much more most very too also just only all
        each every both per get gets got getting need needs want wants please there's it's i'd
        i'm i've
        we're don't can't like go goes going went come comes coming give gives given take takes
        taken make makes made keep keeps put let tell tells say says know find use using used
        something anything nothing someone anyone somebody thing things one ones else again back
        still already always never often even well really actually exactly ahead away yes
        pay pays paid paying have's what's who's how's around near next last""".split()
    ),
    "lb": frozenset(
        """den de d dem der déi dat datt dass dës dësen dëst en eng engem enger een kee keng kengem
        an oder awer mä ech du hien hie si hatt et mir dir se sech mech mir dech iech eis him hinnen
        hir mäin mäi meng menge mengem menger däin däi deng säin säi seng eisen eist eis ären är
        ass sinn si war waren bass sidd gëtt gi ginn gouf goufen hunn hu huet hues hat kann kanns
        kënne kënnen kéint muss mussen soll sollen däerf däerfen wëll wëllen wëllt wéi wat wien
        wiem wou wouhin wéini firwat wéivill wéivil wéi wéieng wéien vill vun vum op um an am am
        aus bei beim mat no nom zu zum zur iwwer ënner virun hannert fir géint ouni duerch bis
        zanter
        wärend wéinst als ob wann well net och nëmmen nach scho ganz sou do dann hei et gëtt man
        kréien kritt kréie krut brauch brauchen brauche maachen mécht maache pro all ee ze mam vum
        eppes näischt een keen jiddereen alles aner anerer aneren ëmmer ni nees erëm scho méi
        manner gär gutt geet goen gi komm kommen kënnt bleiwen bleift stinn steet huelen hëlt fannen
        fënnt wëssen soen seet bezuelen bezilt bezuele zwee lass hunn hätt wier géif géifen
        iwwerhaapt genee elo haut muer""".split()
    ),
}


@lru_cache(maxsize=1 << 16)  # the same words come again and again
def fold(text: str) -> str:
    """Lower case without accents; ß becomes ss. Lengths may change: never use for positions."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    decomposed = unicodedata.normalize("NFKD", plain)
    return "".join(char for char in decomposed if not unicodedata.combining(char))


@lru_cache(maxsize=1)
def _folded_function_words() -> frozenset[str]:
    return frozenset(fold(word) for words in FUNCTION_WORDS.values() for word in words)


def words(text: str) -> list[str]:
    """Folded words in order; an elided article is split off and dropped ("l'école" → "ecole")."""
    found = []
    for match in _WORD.findall(text):
        word = fold(match)
        head, apostrophe, tail = word.replace("’", "'").partition("'")
        if apostrophe and head in _ELIDED and tail:
            found.append(tail)
        elif apostrophe:
            found.extend((head, tail) if len(tail) > 1 else (head,))
        else:
            found.append(word)
    return found


def content_words(text: str) -> list[str]:
    """Folded words that carry topic, in order, each once."""
    function_words = _folded_function_words()
    kept = dict.fromkeys(word for word in words(text) if word not in function_words)
    return list(kept)


@lru_cache(maxsize=1 << 15)
def grams(word: str) -> frozenset[str]:
    """Character 4-grams of a folded word padded with one space on each side.

    A word of one or two letters gives itself, padded, cut or whole.
    """
    padded = f" {word} "
    if len(padded) <= SIZE:
        return frozenset({padded})
    return frozenset(padded[i : i + SIZE] for i in range(len(padded) - SIZE + 1))


def text_grams(text: str) -> frozenset[str]:
    """The 4-grams of every word of ``text``."""
    return frozenset().union(*map(grams, words(text)))


# A word that several languages share says less about which one this is. In parts of a whole that
# every number of languages divides, so that equal scores are equal.
_WHOLE = lcm(*range(1, len(FUNCTION_WORDS) + 1))
_TELLING: dict[str, tuple[tuple[str, int], ...]] = {}
"""What a function word tells: for each language that knows it, how much."""
for _word in frozenset().union(*FUNCTION_WORDS.values()):
    _knowing = [language for language, known in FUNCTION_WORDS.items() if _word in known]
    _TELLING[_word] = tuple((language, _WHOLE // len(_knowing)) for language in _knowing)


def language_of(text: str, among: Iterable[str] = ("en", "fr", "de", "lb")) -> str:
    """The language whose function words ``text`` uses most; the first of ``among`` if none."""
    scores = dict.fromkeys(among, 0)
    for token, count in Counter(_WORD.findall(text.replace("’", "'"))).items():
        token = token.lower()
        whole = "'" not in token
        for part in (token,) if whole else (token, *token.split("'")):
            for language, telling in _TELLING.get(part, ()):
                if language in scores:
                    scores[language] += (2 if whole else 1) * telling * count
    return max(scores, key=scores.__getitem__)  # of equal ones the first
