"""Templates: the sentences that claims are put into."""

__all__ = [
    "ABSENT",
    "CAPTIONS",
    "EQUIVALENT",
    "PRESENT",
    "STATEMENTS",
    "UNSUITED",
    "ClaimKind",
]

from collections.abc import Mapping
from typing import Literal

from negtrace.language.usage import FindingKind

ClaimKind = Literal[
    "present",
    "possible",
    "probable",
    "absent",
    "place denied",
    "both sides denied",
    "severity denied",
]
"""Kind of a claim; each has its own templates."""

PRESENT: tuple[str, ...] = (
    "There {be} {np}.",
    "There {be} {np}.",
    "{np} {be} seen.",
    "{np} {be} present.",
    "{np} {be} noted.",
    "The patient has {np}.",
    "The radiograph shows {np}.",
    "Chest radiograph with {bare}.",
    "{bare}.",
)
"""Sentences that state a finding. For the slots see `negtrace.language.noun_phrases.Slots`."""

ABSENT: tuple[str, ...] = (
    "There {be} no {bare}.",
    "There {be} no {bare}.",
    "No {bare} {be} seen.",
    "The patient has no {bare}.",
    "{bare} {be} absent.",
    "Chest radiograph without {bare}.",
    "There is no evidence of {np}.",
    "The study is negative for {bare}.",
    "No {bare}.",
)
"""Sentences that deny a finding."""

EQUIVALENT: tuple[str, ...] = (
    "{normal}",
    "{normal}",
    "{phrase}.",
    "The radiograph shows {phrase}.",
)
"""Sentences that affirm what excludes a finding, and do not name it."""

CAPTIONS: tuple[str, ...] = (
    "Frontal radiograph with {list}.",
    "Portable radiograph with {list}.",
    "Frontal view showing {list}.",
    "{list}.",
)
"""Sentences about several findings."""

STATEMENTS: Mapping[ClaimKind, tuple[str, ...]] = {
    "present": (
        "There {be} {np}.",
        "{np} {be} seen.",
        "{np} {be} noted.",
        "{np} {be} present.",
        "{np} {be} identified.",
        "The radiograph shows {np}.",
        "The radiograph demonstrates {np}.",
        "Findings are consistent with {np}.",
        "{bare}.",
    ),
    "possible": (
        "Possible {bare}.",
        "{np} cannot be excluded.",
        "There may be {np}.",
        "Suspected {bare}.",
        "{np} {be} suspected.",
        "Findings are suspicious for {np}.",
        "{np} {be} possible.",
    ),
    "probable": (
        "Probable {bare}.",
        "{np} {be} likely.",
        "There {be} probably {np}.",
        "There {be} likely {np}.",
        "Findings most likely represent {np}.",
    ),
    "absent": (
        "There {be} no {bare}.",
        "No {bare}.",
        "No {bare} {be} seen.",
        "No {bare} {be} identified.",
        "No {bare} {be} demonstrated.",
        "No evidence of {bare}.",
        "There is no evidence of {np}.",
        "There is no sign of {np}.",
        "No {bare} {be} present.",
        "{bare} not present.",
        "{np} {have} been ruled out.",
        "The radiograph shows no {bare}.",
        "The radiograph does not show {np}.",
        "The study is negative for {np}.",
        "Chest radiograph without {bare}.",
    ),
    "place denied": (
        "{bare} not involving {place}.",
        "The {bare} {do} not involve {place}.",
        "There {be} {np}, but not {in_place}.",
        "{np} {be} seen, but not {in_place}.",
        "The {bare} {be} not {in_place}.",
    ),
    "both sides denied": (
        "The {bare} {be} not bilateral.",
        "There {be} {np}, but {it} {be} not bilateral.",
        "{np} {be} seen, but {it} {be} not bilateral.",
    ),
    "severity denied": (
        "The {bare} {be} not {severity}.",
        "There {be} {np}, but {it} {be} not {severity}.",
        "{np} {be} seen, but {it} {be} not {severity}.",
    ),
}
"""Every template for each kind of claim. `place` and `severity` are what the claim denies."""

UNSUITED: Mapping[FindingKind | Literal["graded"], frozenset[str]] = {
    "sign": frozenset(["Findings are consistent with {np}.", "{np} {have} been ruled out."]),
    "spot": frozenset(
        [
            "Findings are consistent with {np}.",
            "Findings most likely represent {np}.",
            "{np} {have} been ruled out.",
            "{bare} not involving {place}.",
            "The {bare} {do} not involve {place}.",
        ]
    ),
    "device": frozenset(
        [
            "Findings are consistent with {np}.",
            "Findings most likely represent {np}.",
            "Findings are suspicious for {np}.",
            "Suspected {bare}.",
            "{np} {be} suspected.",
            "{np} {be} possible.",
            "{np} cannot be excluded.",
            "{np} {have} been ruled out.",
            "{bare} not involving {place}.",
            "The {bare} {do} not involve {place}.",
        ]
    ),
    "graded": frozenset(
        [
            "No evidence of {bare}.",
            "{bare} not present.",
            "{np} {have} been ruled out.",
            "The study is negative for {np}.",
            "Chest radiograph without {bare}.",
            "{bare} not involving {place}.",
            "The {bare} {do} not involve {place}.",
        ]
    ),
}
"""Templates of `STATEMENTS` that nobody uses for a kind of finding, or with a severity."""
