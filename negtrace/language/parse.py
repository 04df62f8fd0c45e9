"""Claims read back from text: each finding that a text names, with its polarity and attributes."""

__all__ = ["parse_claim", "parse_claims", "read_sentence", "sentence_spans"]

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from negtrace.errors import LanguageError
from negtrace.language.claims import WORDS_BY_VALUE, Claim, attribute_words
from negtrace.language.cues import Cue, Reading, read_words
from negtrace.language.findings import VOCABULARY
from negtrace.language.lexicon import load_lexicon
from negtrace.language.mentions import Mention, mentions_in
from negtrace.language.negation import Decision, decide
from negtrace.language.sections import may_have_section, sections_of
from negtrace.language.words import Span, Words, split, stops

_ENDS = frozenset(".;:!?\n")
_SENTENCE_ENDS = frozenset(".!?;\n")
_PHRASE_ENDS = _ENDS | {",", "and", "but", "or", "with"}
_PLACE_NOUNS = ("lobe", "lung", "zone", "base", "hemithorax", "chest", "the")
_JOINTS = frozenset([",", "and", "or", "nor", "but", "with", "without", "no", "not", "while"])


class _Stated(NamedTuple):
    """A word that states an attribute."""

    attribute: str
    value: str
    number: int


@dataclass(frozen=True, kw_only=True)
class _Text:
    words: Words
    reading: Reading

    def decision(self, first: int, last: int) -> Decision:
        """Return what the text says of the words from `first` to `last`, without `last`."""
        return decide(self.reading, self.words.span(first, last))

    def denies(self, index: int) -> bool:
        """Return whether the text denies a word."""
        return self.decision(index, index + 1).negated


def parse_claim(text: str) -> Claim:
    """Return the one claim that a text makes.

    >>> parse_claim("No large left pleural effusion.")
    Claim(finding='effusion', present=False, side='left', severity='large')
    >>> parse_claim("The heart size is normal.")
    Claim(finding='cardiomegaly', present=False)

    Raises:
        LanguageError: for a text with no claim about a known finding, or with several.
    """
    claims = parse_claims(text)
    if len(claims) != 1:
        findings = ", ".join(claim.finding for claim in claims) or "none"
        raise LanguageError(
            f"expected a text with one claim, got {len(claims)} (findings: {findings}); "
            "parse_claims reads several"
        )
    return claims[0]


def parse_claims(text: str) -> tuple[Claim, ...]:
    """Return the claims that a text makes, from left to right.

    The attributes of a claim are stated near its finding: between the findings before and after it,
    in the same sentence. Attributes that the finding cannot have are ignored. A finding that is
    named twice makes two claims.

    >>> for claim in parse_claims("Small left effusion at the base, no pneumothorax."):
    ...     print(claim)
    Claim(finding='effusion', present=True, side='left', zone='lower', severity='small')
    Claim(finding='pneumothorax', present=False)
    """
    words = split(text)
    return tuple(
        claim for first, last in _sentences(words) for claim in _claims_of(words.part(first, last))
    )


def sentence_spans(text: str) -> list[Span]:
    """Return the characters of each sentence that asserts something, with its full stop.

    A colon ends no sentence. Sections such as INDICATION and HISTORY assert nothing.

    >>> sentence_spans("No mass, as Dr. Low said. Size: 2.5 cm.")
    [(0, 25), (25, 39)]
    >>> sentence_spans("Indication: pneumonia? Findings: clear.")
    [(22, 39)]
    """
    words = split(text)
    spans = []
    for first, last in _sentences(words):
        begin = words.ends[first - 1] if first else 0
        end = words.ends[last - 1] if last < len(words.lower) else len(text)
        spans.append((begin, end))
    return spans


def _sentences(words: Words) -> list[Span]:
    """Return the words of each sentence that asserts something."""
    lexicon = load_lexicon()
    marks = stops(words, lexicon.abbreviations)
    ends = [index + 1 for index in marks if words.lower[index] in _SENTENCE_ENDS]
    edges = [0, *ends, len(words.lower)]
    spans = [
        (first, last)
        for first, last in pairwise(edges)
        if first < last and (last - first > 1 or words.lower[first] != "\n")
    ]
    if not may_have_section(words, lexicon):
        return spans
    sections = sections_of(words, lexicon.matches(words), lexicon)
    left_out = [(section.heading[0], section.body[1]) for section in sections]
    starts = [start for start, _ in left_out]
    return [span for span in spans if not _overlaps(span, starts, left_out)]


def _overlaps(span: Span, starts: Sequence[int], others: Sequence[Span]) -> bool:
    """Return whether a span overlaps one of some others, which stand from left to right."""
    index = bisect_left(starts, span[1]) - 1
    return index >= 0 and others[index][1] > span[0]


def read_sentence(sentence: str) -> tuple[tuple[Claim, ...], Reading]:
    """Return the claims that one sentence makes, and what the lexicon finds in it.

    >>> claims, reading = read_sentence("There is no effusion.")
    >>> claims[0], reading.cues[0].text
    (Claim(finding='effusion', present=False), 'no')
    """
    words = split(sentence)
    reading = read_words(words, load_lexicon())
    return tuple(_claims(_Text(words=words, reading=reading), mentions_in(words))), reading


def _claims_of(words: Words) -> Iterator[Claim]:
    mentions = mentions_in(words)
    # Most sentences of a report name no finding; they need not be searched for cues.
    if any(mention.meaning != "elsewhere" for mention in mentions):
        reading = read_words(words, load_lexicon())
        yield from _claims(_Text(words=words, reading=reading), mentions)


def _claims(text: _Text, mentions: Sequence[Mention]) -> Iterator[Claim]:
    for mention, area in zip(mentions, _areas(text.words, mentions), strict=True):
        if mention.meaning != "elsewhere" and (claim := _claim(text, mention, area)):
            yield claim


def _claim(text: _Text, mention: Mention, area: Span) -> Claim | None:
    """Return the claim that a mention makes; None if it leaves open that a finding is absent."""
    decision = text.decision(*mention.decisive)
    stated = _stated(text.words, mention, area)
    if mention.meaning != "named":
        return _claim_by_state(mention, decision, stated)
    if decision.negated:
        attributes = _combined(_reached(text.words, decision.cue, stated), denied=True)
        return _made(mention, present=False, attributes=attributes)
    denied = [] if decision.cue else [word for word in stated if text.denies(word.number)]
    affirmed = _combined([word for word in stated if word not in denied])
    if decision.status == "uncertain":
        return _made(
            mention, present=True, attributes={**affirmed, "certainty": _certainty(decision.cue)}
        )
    apart = _combined(denied)
    if apart and not affirmed.keys() & apart.keys():
        apart["denied"] = "severity" if "severity" in apart else "place"
        return _made(mention, present=True, attributes={**affirmed, **apart})
    return _made(mention, present=True, attributes=affirmed)


def _made(mention: Mention, *, present: bool, attributes: Mapping[str, Any]) -> Claim:
    return Claim(finding=mention.finding, present=present, **attributes)


def _claim_by_state(
    mention: Mention, decision: Decision, stated: Sequence[_Stated]
) -> Claim | None:
    """Return what "normal heart size" denies, "not normal" affirms, and "enlarged" affirms."""
    present = (mention.meaning == "normal") == decision.negated
    if decision.status == "uncertain":
        certainty = {"certainty": _certainty(decision.cue)}
        return _made(mention, present=True, attributes=certainty) if present else None
    if not mention.state[1]:
        return _made(mention, present=present, attributes={})
    if mention.meaning == "normal":
        # "The left lung is clear" speaks of one side, "clear bilaterally" of no finding's side.
        stated = [word for word in stated if word.number == mention.first - 1]
    return _made(mention, present=present, attributes=_combined(stated))


def _certainty(cue: Cue | None) -> str:
    words = set(split(cue.text).lower) if cue else set()
    return "probable" if words & set(WORDS_BY_VALUE["certainty"]["probable"]) else "possible"


def _reached(words: Words, cue: Cue | None, stated: Sequence[_Stated]) -> list[_Stated]:
    """Return the attributes that the cue of a denied finding reaches.

    A cue behind its subject may be followed by the place: "not seen on the left".
    """
    if cue is None:
        return []
    begin, end = cue.scope_words
    if cue.category == "after":
        end = cue.words[1]
        while end < len(words.lower) and words.lower[end] not in _PHRASE_ENDS:
            end += 1
    return [
        word
        for word in stated
        # "No effusion bilaterally" denies it on either side.
        if begin <= word.number < end and words.lower[word.number] != "bilaterally"
    ]


def _stated(words: Words, mention: Mention, area: Span) -> list[_Stated]:
    """Return the words for attributes in the area of a finding, the most telling one last.

    The word nearest in front of the finding counts; if there is none in front, the first one
    behind.
    """
    meanings = _meanings()
    allowed = VOCABULARY[mention.finding].allowed
    behind = range(area[1] - 1, mention.last - 1, -1)
    return [
        _Stated(attribute, value, index)
        for index in (*behind, *range(area[0], mention.first))
        for attribute, value in meanings.get(words.lower[index], ())
        if attribute in allowed
    ]


def _combined(stated: Iterable[_Stated], *, denied: bool = False) -> dict[str, Any]:
    """Return the value of each attribute. "Left" and "right" together are both sides.

    To deny "left or right" of a finding is to deny it wherever it is.
    """
    values: dict[str, Any] = {}
    for attribute, value, _ in stated:
        both = {value, values.get(attribute)} == {"left", "right"}
        values[attribute] = (None if denied else "bilateral") if both else value
    return values


@cache
def _meanings() -> Mapping[str, Sequence[tuple[str, str]]]:
    """Return the attributes that each word states; "bibasilar" states a side and a zone."""
    meanings = {word: [meaning] for word, meaning in attribute_words().items()}
    for place, synonyms in WORDS_BY_VALUE["region"].items():
        side, zone = place.split("-")
        meanings |= {word: [("side", side), ("zone", zone)] for word in synonyms}
    return meanings


def _areas(words: Words, mentions: Sequence[Mention]) -> list[Span]:
    """Return for each mention the words that may state its attributes."""
    named = {mention.last for mention in mentions} | _places(words)
    stops = [
        index
        for index, word in enumerate(words.lower)
        # "Effusion: large" says something of the effusion.
        if word in _ENDS and not (word == ":" and index in named)
    ]
    ends = [-1, *stops, len(words.lower)]
    areas = []
    for number, mention in enumerate(mentions):
        low = ends[bisect_left(ends, mention.first) - 1] + 1
        high = ends[bisect_left(ends, mention.last)]
        if number and mentions[number - 1].last > low:
            low = _joint(words, mentions[number - 1].last, mention.first)
        if number + 1 < len(mentions) and mentions[number + 1].first < high:
            high = _joint(words, mention.last, mentions[number + 1].first)
        areas.append((low, high))
    return areas


def _places(words: Words) -> set[int]:
    """Return the colons behind a heading that is a place, as in "Right lower lobe: clear"."""
    colons = set()
    for colon in [index for index, word in enumerate(words.lower) if word == ":"]:
        begin = colon
        while begin and words.lower[begin - 1] in _words_of_places():
            begin -= 1
        if begin < colon and (begin == 0 or words.lower[begin - 1] in _ENDS):
            colons.add(colon)
    return colons


@cache
def _words_of_places() -> frozenset[str]:
    return frozenset([*_PLACE_NOUNS, *_meanings()])


def _joint(words: Words, begin: int, end: int) -> int:
    """Return the first word between two findings that belongs to the second."""
    return next((i for i in range(begin, end) if words.lower[i] in _JOINTS), begin)
