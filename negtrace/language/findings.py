"""The findings a claim can be about, read from `findings.toml`."""

__all__ = ["FINDINGS", "VOCABULARY", "Finding", "Name"]

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from negtrace.errors import UnknownNameError


@dataclass(frozen=True, kw_only=True)
class Name:
    """One of the names of a finding."""

    words: str
    """As it is said of one, without an article."""
    article: str
    """ "a" or "an"; "some" where the name is plural; empty where it comes in amounts."""
    plural: str
    """As it is said of several; the same words where the name has no number."""

    @property
    def counted(self) -> bool:
        """Whether there can be one and several of it."""
        return self.article in ("a", "an")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding of the chest radiograph and the words for it."""

    key: str
    """Short name, as claims use it."""
    term: str
    """What a report calls it."""
    article: str
    """The word before `term` in the singular; empty for a mass noun."""
    normal_phrase: str
    """Affirmative equivalent of its absence, a noun phrase."""
    normal: str
    """Affirmative equivalent of its absence, a sentence."""
    abnormal: str
    """Affirmative wording of its presence that does not name it, a sentence."""
    attributes: tuple[str, ...]
    """Which of side, zone and severity may be stated of it."""
    label: str = ""
    """Its CheXpert label, or "Nodule"; empty where it has none."""
    nih: str = ""
    """Its label in NIH ChestX-ray14; empty where it has none."""
    synonyms: tuple[str, ...] = ()
    """Other names for it, with their article, or "some" where they are plural."""
    narrower: tuple[str, ...] = ()
    """Those of the synonyms that mean a kind of it, without their article."""
    normals: tuple[str, ...] = ()
    """Further affirmative equivalents of its absence, noun phrases."""
    also: tuple[str, ...] = ()
    """What else may be stated of it in a report."""
    plural: str = ""
    """What a report calls several of it, where that is not `term` with an "s"; or `term` itself,
    where that is plural."""

    @property
    def allowed(self) -> tuple[str, ...]:
        """Every attribute that a claim on it may state."""
        return (*self.attributes, *self.also)

    @property
    def names(self) -> tuple[Name, ...]:
        """What it is called: the term, then the synonyms."""
        if self.plural == self.term:
            term = Name(words=self.term, article="some", plural=self.term)
        else:
            plural = self.plural or _many(self.term) if self.article else self.term
            term = Name(words=self.term, article=self.article, plural=plural)
        return (term, *map(_name, self.synonyms))


def _name(synonym: str) -> Name:
    article, _, rest = synonym.partition(" ")
    if article not in ("a", "an", "some"):
        return Name(words=synonym, article="", plural=synonym)
    return Name(words=rest, article=article, plural=rest if article == "some" else _many(rest))


def _many(noun: str) -> str:
    """Return the plural of a noun."""
    for one, many in (("thorax", "thoraces"), ("y", "ies"), ("ss", "sses"), ("um", "ums")):
        if noun.endswith(one):
            return noun.removesuffix(one) + many
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
"""Every finding that a claim can be about: CheXpert's, NIH ChestX-ray14's and malignancy."""

FINDINGS: Mapping[str, Finding] = MappingProxyType(
    _Findings({key: finding for key, finding in VOCABULARY.items() if finding.label})
)
"""The findings of CheXpert and the nodule: those of the built-in pairs and of the phantom."""
