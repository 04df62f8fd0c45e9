"""Words for side, zone, severity and certainty, read from `attributes.toml`."""

__all__ = ["WORDS", "attribute_words", "severity_words"]

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

WORDS: Mapping[str, Mapping[str, list[str]]] = MappingProxyType(
    tomllib.loads(files("negtrace.language").joinpath("attributes.toml").read_text("utf-8"))
)
"""Under each heading of `attributes.toml`, the words for each value."""

_HEADINGS = {"side": "side", "zone": "zone", "size": "severity", "degree": "severity"}


def severity_words(*, counted: bool) -> Mapping[str, list[str]]:
    """Return the words for small, moderate and large of what is counted, or comes in amounts."""
    return WORDS["size" if counted else "degree"]


@cache
def attribute_words() -> Mapping[str, tuple[str, str]]:
    """Return the attribute and the value that each word stands for.

    >>> attribute_words()["basilar"]
    ('zone', 'lower')
    """
    found: dict[str, tuple[str, str]] = {}
    for heading, attribute in {**_HEADINGS, "severity": "severity"}.items():
        for value, words in WORDS[heading].items():
            found |= dict.fromkeys(words, (attribute, value))
    return MappingProxyType(found)
