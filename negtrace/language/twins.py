"""Twins: two sentences that say opposite or different things and differ in exactly one word.

An exact trace needs them: the two sentences have the same tokens at all places but one.
`finding_twins` words one finding; `claim_twins` words any two claims that differ in one attribute.
"""

__all__ = ["FINDING_TWINS", "claim_twins", "finding_twins"]

from collections.abc import Callable, Iterator, Sequence
from itertools import product

from negtrace.errors import LanguageError
from negtrace.language.claims import Claim
from negtrace.language.findings import Finding, Name
from negtrace.language.noun_phrases import capitalized, names_of, noun_phrases
from negtrace.language.wording import templates_of

FINDING_TWINS: tuple[tuple[str, str, str], ...] = (
    ("There is {word} {term}.", "{article}", "no"),
    ("{word} {term} is seen.", "{article}", "no"),
    ("The patient has {word} {term}.", "{article}", "no"),
    ("{term} is {word}.", "present", "absent"),
    ("Chest radiograph {word} {term}.", "with", "without"),
)
"""Template, affirmative word and negating word, for a finding with nothing stated of it.

The article of what comes in amounts is "some", so that every affirmative word is one token."""

CLAIM_TWINS: tuple[tuple[str, str, str], ...] = (
    ("There {be} {word} {bare}.", "{article}", "no"),
    ("{word} {bare} {be} seen.", "{article}", "no"),
    ("The radiograph shows {word} {bare}.", "{article}", "no"),
    ("{bare} {be} {word}.", "present", "absent"),
    ("The study is {word} for {bare}.", "positive", "negative"),
    ("Chest radiograph {word} {bare}.", "with", "without"),
)
"""Template, affirmative word and negating word, for a claim with its attributes."""


def finding_twins(
    finding: Finding, templates: Sequence[tuple[str, str, str]] = FINDING_TWINS
) -> tuple[tuple[str, str], ...]:
    """Return (affirmative, negated) sentences on one finding that differ in one word.

    >>> from negtrace.language.findings import FINDINGS
    >>> finding_twins(FINDINGS["edema"])[0]
    ('There is some pulmonary edema.', 'There is no pulmonary edema.')
    """
    article = finding.article or "some"
    return tuple(
        (
            capitalized(template.format(word=word.format(article=article), term=finding.term)),
            capitalized(template.format(word=negating, term=finding.term)),
        )
        for template, word, negating in templates
    )


def claim_twins(
    claim: Claim, other: Claim, *, length: Callable[[str], int] | None = None
) -> list[tuple[str, str]]:
    """Return sentences on two claims that differ in exactly one word.

    The claims differ in presence, side, zone or severity only, as a claim and its counterfactual.

    >>> left = Claim(finding="nodule", present=True, side="left")
    >>> right = Claim(finding="nodule", present=True, side="right")
    >>> claim_twins(left, right)[0]
    ('There is a left lung nodule.', 'There is a right lung nodule.')
    >>> claim_twins(left, left.negate())[0]
    ('There is a left lung nodule.', 'There is no left lung nodule.')

    Args:
        claim: what the first sentence of each pair says.
        other: what the second one says.
        length: counts the tokens of a sentence; only pairs of equal length are kept then.

    Raises:
        LanguageError: for claims that are in doubt or denied in part, and when no pair of
            sentences differs in one word.
    """
    pairs = [
        pair
        for pair in dict.fromkeys(_twins(claim, other))
        if _one_word_apart(*pair) and (length is None or length(pair[0]) == length(pair[1]))
    ]
    if not pairs:
        raise LanguageError(
            f"no sentences say {claim} and {other} one word apart; change one attribute, "
            "and keep to left or right where the side is changed"
        )
    return pairs


def _twins(claim: Claim, other: Claim) -> Iterator[tuple[str, str]]:
    """Yield sentences on both claims, of one template and one name of the finding."""
    if claim.certainty or claim.denied or other.certainty or other.denied:
        raise LanguageError(
            f"twins need plain claims, got {claim} and {other}; leave out certainty and denied"
        )
    for name in names_of(claim):
        for template, affirmative, negating in _templates(claim, other, name):
            for first, second in product(noun_phrases(claim, name), noun_phrases(other, name)):
                first["word"] = affirmative.format(**first) if claim.present else negating
                second["word"] = affirmative.format(**second) if other.present else negating
                yield capitalized(template.format(**first)), capitalized(template.format(**second))


def _templates(claim: Claim, other: Claim, name: Name) -> Iterator[tuple[str, str, str]]:
    """Yield templates with their affirmative and negating word.

    Nobody says "some mild edema", or "some moderate bilateral effusions".
    """
    if claim.present == other.present:
        yield from ((template, "", "") for template in templates_of(claim, name))
        return
    for template, affirmative, negating in CLAIM_TWINS:
        amount = not name.counted or claim.side == "bilateral"
        some = affirmative == "{article}" and amount
        if not (some and claim.severity):
            yield template, affirmative, negating


def _one_word_apart(first: str, second: str) -> bool:
    words, others = first.split(), second.split()
    return (
        len(words) == len(others) and sum(a != b for a, b in zip(words, others, strict=True)) == 1
    )
