"""Complements: a denial, and the affirmative sentence that says the same.

"The door is not open." says what "The door is closed." says, as the door is either open or closed.
The shipped groups are in `complements.toml`, by domain; their denials are made here.
"""

__all__ = ["Complement", "complements"]

import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_ARTICLES = ("a ", "an ", "some ")


@dataclass(frozen=True, kw_only=True)
class Complement:
    """A denial with the affirmative sentence that it is equal to, and what it denies.

    >>> Complement(
    ...     denial="The door isn't open.",
    ...     complement="The door is closed.",
    ...     affirmed="The door is open.",
    ...     opposite="The door is open.",
    ...     group="door",
    ... ).domain
    ''
    """

    denial: str
    """Sentence that denies something."""
    complement: str
    """Affirmative sentence that is true exactly where the denial is true."""
    affirmed: str
    """The denial taken back: true exactly where the denial is false."""
    opposite: str
    """Complement of `complement`: what `affirmed` says, in other words where there are some."""
    group: str
    """Name that the denials of one pair of complements share. A split must not cut a group."""
    domain: str = ""
    """Domain of the group, such as "household"; empty where it is not known."""


@cache
def complements() -> tuple[Complement, ...]:
    """Return the shipped complements, by domain and group, several denials a group.

    A group of two states gives denials of both:

    >>> door = [pair for pair in complements() if pair.group == "The front door is open / closed"]
    >>> for pair in door:
    ...     print(pair.denial, "=", pair.complement)
    The front door is not open. = The front door is closed.
    The front door isn't open. = The front door is closed.
    It is not true that the front door is open. = The front door is closed.
    The front door is not closed. = The front door is open.
    The front door isn't closed. = The front door is open.
    It is not true that the front door is closed. = The front door is open.

    A group of a thing gives denials that it is there:

    >>> rain = [pair for pair in complements() if pair.group == "rain today"]
    >>> for pair in rain:
    ...     print(pair.denial)
    There is no rain today.
    There isn't any rain today.
    It is not true that there is rain today.
    >>> rain[0].complement, rain[0].affirmed, rain[0].opposite
    ('The day is dry.', 'There is rain today.', 'The day is wet.')
    """
    text = files("negtrace.language").joinpath("complements.toml").read_text("utf-8")
    makers: dict[str, Callable[..., Iterator[Complement]]]
    makers = {"states": _state, "actions": _action, "things": _thing}
    return tuple(
        pair
        for domain, kinds in tomllib.loads(text).items()
        for kind, groups in kinds.items()
        for group in groups
        for pair in makers[kind](domain, *group)
    )


def _state(domain: str, subject: str, verb: str, first: str, second: str) -> Iterator[Complement]:
    """Yield the denials of "The door is open." and of "The door is closed."."""
    predicates = [(state, f"{verb} {state}") for state in (first, second)]
    yield from _both_ways(domain, subject, verb, predicates)


def _action(
    domain: str, subject: str, auxiliary: str, first: str, second: str
) -> Iterator[Complement]:
    """Yield the denials of "The pupil passed." and of "The pupil failed."."""
    predicates = []
    for forms in (first, second):
        infinitive, finite = forms.split(" / ")
        predicates.append((infinitive, finite))
    yield from _both_ways(domain, subject, auxiliary, predicates)


def _both_ways(
    domain: str, subject: str, auxiliary: str, predicates: Sequence[tuple[str, str]]
) -> Iterator[Complement]:
    """Yield the denials of two predicates.

    Args:
        domain: domain of the group.
        subject: subject of both.
        auxiliary: verb that takes the "not".
        predicates: of each, the words behind "not", and the affirmative words.
    """
    sentences = [f"{subject} {finite}." for _, finite in predicates]
    group = f"{subject} {predicates[0][1]} / {predicates[1][0]}"
    for (denied, _), affirmed, complement in zip(
        predicates, sentences, reversed(sentences), strict=True
    ):
        for denial in (
            f"{subject} {auxiliary} not {denied}.",
            f"{subject} {_contracted(auxiliary)} {denied}.",
            f"It is not true that {affirmed[0].lower()}{affirmed[1:]}",
        ):
            yield Complement(
                denial=denial,
                complement=complement,
                affirmed=affirmed,
                opposite=affirmed,
                group=group,
                domain=domain,
            )


def _thing(
    domain: str, noun: str, place: str, presence: str, absence: str, owner: str = ""
) -> Iterator[Complement]:
    """Yield the denials of "There is a lid on the jar." and of "The jar has a lid.".

    Args:
        domain: domain of the group.
        noun: noun with "a" or "an", with "some" where it is plural, or bare.
        place: words behind it.
        presence: sentence that is true where the thing is there.
        absence: sentence that is true where it is not.
        owner: subject of "has"; empty where that is no natural English.
    """
    article, name = noun.split(" ", 1) if noun.startswith(_ARTICLES) else ("", noun)
    be = "are" if article == "some" else "is"
    counted = noun if article in ("a", "an") else ""
    there = f"there {be} {noun} {place}."
    denials = [
        (f"There {be} no {name} {place}.", there),
        (f"There {be}n't {counted or f'any {name}'} {place}.", there),
        (f"It is not true that {there}", there),
    ]
    if owner:
        denials += [
            (f"{owner} has no {name}.", f"{owner} has {noun}."),
            (f"{owner} is without {counted or name}.", f"{owner} has {noun}."),
        ]
    for denial, affirmed in denials:
        yield Complement(
            denial=denial,
            complement=absence,
            affirmed=affirmed[0].upper() + affirmed[1:],
            opposite=presence,
            group=f"{name} {place}",
            domain=domain,
        )


def _contracted(auxiliary: str) -> str:
    """Return an auxiliary with its "n't".

    >>> _contracted("did"), _contracted("will")
    ("didn't", "won't")
    """
    return "won't" if auxiliary == "will" else f"{auxiliary}n't"
