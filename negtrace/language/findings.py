"""The findings a claim can be about, read from `findings.toml`."""

__all__ = ["FINDINGS", "Finding"]

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

from negtrace.errors import UnknownNameError


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding of the chest radiograph and the words for it."""

    key: str
    """Short name, as claims use it."""
    term: str
    """What a report calls it."""
    article: str
    """The word before `term` in the singular; empty for a mass noun."""
    label: str
    """Its CheXpert label."""
    normal_phrase: str
    """Affirmative equivalent of its absence, a noun phrase."""
    normal: str
    """Affirmative equivalent of its absence, a sentence."""
    abnormal: str
    """Affirmative wording of its presence that does not name it, a sentence."""
    attributes: tuple[str, ...]
    """Which of side, zone and severity may be stated of it."""


class _Findings(dict[str, Finding]):
    def __missing__(self, key: str) -> Finding:
        raise UnknownNameError(f"unknown finding {key!r}; known: {', '.join(self)}")


def _read() -> Mapping[str, Finding]:
    rows = tomllib.loads(files("negtrace.language").joinpath("findings.toml").read_text("utf-8"))
    return MappingProxyType(
        _Findings(
            {
                key: Finding(key=key, **{**row, "attributes": tuple(row["attributes"])})
                for key, row in rows.items()
            }
        )
    )


FINDINGS: Mapping[str, Finding] = _read()
