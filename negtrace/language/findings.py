"""Findings that a claim can be about, and their names, from `findings.toml`."""

__all__ = ["FINDINGS", "VOCABULARY", "Finding", "Name", "plural_of"]

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from negtrace.errors import UnknownNameError

_PLURAL_ENDINGS: tuple[tuple[str, str], ...] = (
    ("thorax", "thoraces"),
    ("person", "people"),
    ("child", "children"),
    ("human", "humans"),
    ("man", "men"),
    ("foot", "feet"),
    ("tooth", "teeth"),
    ("mouse", "mice"),
    ("vertebra", "vertebrae"),
    ("bulla", "bullae"),
    ("bronchus", "bronchi"),
    ("thrombus", "thrombi"),
    ("embolus", "emboli"),
    ("diverticulum", "diverticula"),
    ("apex", "apices"),
    ("knife", "knives"),
    ("leaf", "leaves"),
    ("shelf", "shelves"),
    ("sis", "ses"),
    *((f"{vowel}y", f"{vowel}ys") for vowel in "aeou"),
    ("y", "ies"),
    *((sibilant, f"{sibilant}es") for sibilant in ("s", "x", "z", "ch", "sh")),
)
"""End of a noun, and that of its plural; the first that fits counts. All others take an "s"."""


@dataclass(frozen=True, kw_only=True)
class Name:
    """One of the names of a finding."""

    words: str
    """The name of one such finding, without an article."""
    article: str
    """ "a" or "an"; "some" for a name that is plural; empty for what comes in amounts (edema)."""
    plural: str
    """The name of several; the same as `words` for a name that is plural or comes in amounts."""

    @property
    def counted(self) -> bool:
        """True if the name has a singular and a plural."""
        return self.article in ("a", "an")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding of the chest radiograph and the words for it."""

    key: str
    """Short name, as claims use it."""
    term: str
    """Name that a report uses most."""
    article: str
    """ "a" or "an" before `term`; "some" where it is plural; empty where it comes in amounts."""
    normal_phrase: str
    """Affirmative equivalent of its absence, as a noun phrase ("normal heart size")."""
    normal: str
    """Affirmative equivalent of its absence, as a sentence ("The heart size is normal.")."""
    abnormal: str
    """Sentence that affirms the finding without naming it ("The heart is enlarged.")."""
    attributes: tuple[str, ...]
    """Those of side, zone and severity that the phantom draws for it."""
    label: str = ""
    """CheXpert label, or "Nodule"; empty where it has none."""
    nih: str = ""
    """Label of NIH ChestX-ray14; empty where it has none."""
    synonyms: tuple[str, ...] = ()
    """Other names, with their article, or with "some" where they are plural."""
    narrower: tuple[str, ...] = ()
    """Those of the synonyms that name only a kind of it, without their article."""
    normals: tuple[str, ...] = ()
    """Further affirmative equivalents of its absence, as noun phrases."""
    also: tuple[str, ...] = ()
    """Further attributes that a report may state, though the phantom does not draw them."""

    mentions: tuple[str, ...] = ()
    """Further names that are read and never written, in the singular and without an article."""
    organs: tuple[str, ...] = ()
    """Parts of the chest whose state says whether the finding is there, as in "heart"."""
    healthy: tuple[str, ...] = ()
    """States of these parts that exclude the finding, as in "normal"."""
    diseased: tuple[str, ...] = ()
    """States of these parts that are the finding, as in "enlarged"."""

    @property
    def allowed(self) -> tuple[str, ...]:
        """Every attribute that a claim about it may state."""
        return (*self.attributes, *self.also)

    @property
    def names(self) -> tuple[Name, ...]:
        """The term and its synonyms."""
        return (_name(self.article, self.term), *map(_synonym, self.synonyms))


def _synonym(words: str) -> Name:
    article, _, noun = words.partition(" ")
    return _name(article, noun) if article in ("a", "an", "some") else _name("", words)


def _name(article: str, noun: str) -> Name:
    plural = plural_of(noun) if article in ("a", "an") else noun
    return Name(words=noun, article=article, plural=plural)


@lru_cache(maxsize=10_000)
def plural_of(noun: str) -> str:
    """Return the plural of a noun.

    >>> [plural_of(noun) for noun in ("nodule", "opacity", "mass", "pneumothorax", "metastasis")]
    ['nodules', 'opacities', 'masses', 'pneumothoraces', 'metastases']
    """
    for singular, plural in _PLURAL_ENDINGS:
        if noun.endswith(singular):
            return noun.removesuffix(singular) + plural
    return noun + "s"


class _Findings(dict[str, Finding]):
    def __missing__(self, key: str) -> Finding:
        raise UnknownNameError(f"unknown finding {key!r}; known: {', '.join(self)}")


def _read() -> _Findings:
    rows = tomllib.loads(files("negtrace.language").joinpath("findings.toml").read_text("utf-8"))
    return _Findings({key: _finding(key, row) for key, row in rows.items()})


def _finding(key: str, row: Mapping[str, Any]) -> Finding:
    lists = {name: tuple(value) for name, value in row.items() if isinstance(value, list)}
    return Finding(key=key, **{**row, **lists})


VOCABULARY: Mapping[str, Finding] = MappingProxyType(_read())
"""Every finding that a claim can be about: those of CheXpert and NIH ChestX-ray14, malignancy."""

FINDINGS: Mapping[str, Finding] = MappingProxyType(
    _Findings({key: finding for key, finding in VOCABULARY.items() if finding.label})
)
"""The findings of CheXpert and the nodule. Built-in pairs and benchmark questions use these."""
