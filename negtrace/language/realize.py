"""Claims put into words: sentences, and equal-length twins for exact tracing."""

__all__ = ["TWINS", "twins"]

from negtrace.language.findings import Finding

TWINS: tuple[tuple[str, str, str], ...] = (
    ("There is {word} {term}.", "some", "no"),
    ("{word} {term} is seen.", "Some", "No"),
    ("The patient has {word} {term}.", "some", "no"),
    ("The {term} is {word}.", "present", "absent"),
    ("The chest is {word} {term}.", "with", "without"),
)
"""Template, affirmative word, negating word: the two sentences differ in that one word."""


def twins(finding: Finding) -> tuple[tuple[str, str], ...]:
    """Return (affirmative, negated) sentences on one finding, equal but for one word.

    >>> from negtrace.language.findings import FINDINGS
    >>> twins(FINDINGS["edema"])[0]
    ('There is some pulmonary edema.', 'There is no pulmonary edema.')
    """
    return tuple(
        (
            template.format(word=affirmative, term=finding.term),
            template.format(word=negating, term=finding.term),
        )
        for template, affirmative, negating in TWINS
    )
