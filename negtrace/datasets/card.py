"""Data cards: what a data set holds, what was left out of its sources, and how it was made."""

__all__ = ["Card", "card_from_json", "read_card"]

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from negtrace._json import parse_json
from negtrace._markdown import code, escaped, table
from negtrace.errors import DatasetError

_TITLES = {"claims": "Claim sets", "captions": "Negated captions", "pairs": "Tracing pairs"}
_AXES = ("finding", "polarity", "attribute", "source", "options", "answer", "left_out")


@dataclass(frozen=True, kw_only=True)
class Card:
    """Counts and provenance of a data set; without statements, paths and patients."""

    identity: Mapping[str, Any]
    """Version, settings, a check of the key, and number, layout and keyed digest of each source:
    all that the bytes depend on."""
    counts: Mapping[str, int]
    """Counts by names such as `claims/train`, `claims/train/finding/effusion` and
    `records/skipped/label`."""
    examples: Mapping[str, list[list[Any]]]
    """Source and row of the first notes of each code; in a folder of reports, the pseudonym of the
    file in place of the row."""
    files: Mapping[str, Mapping[str, Any]]
    """Size in bytes and SHA-256 of each file."""

    def of(self, prefix: str) -> dict[str, int]:
        """Return the counts one level below a name, by the last part of their names.

        >>> Card(identity={}, counts={"pairs/val/source/nih": 2}, examples={}, files={}).of(
        ...     "pairs/val/source"
        ... )
        {'nih': 2}
        """
        start = f"{prefix}/"
        below = {k[len(start) :]: n for k, n in self.counts.items() if k.startswith(start)}
        return {name: n for name, n in sorted(below.items()) if "/" not in name}

    @property
    def skipped(self) -> dict[str, int]:
        """Number of records that were left out, by reason."""
        return self.of("records/skipped")

    def as_json(self) -> bytes:
        """The card as JSON."""
        document = {
            "identity": self.identity,
            "counts": dict(sorted(self.counts.items())),
            "examples": dict(sorted(self.examples.items())),
            "files": self.files,
        }
        return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()

    def as_text(self) -> str:
        """The card as Markdown."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        config = self.identity["config"]
        yield from ("# A contextual negation data set", "")
        yield (
            f"Built by negtrace {escaped(self.identity['version'])} with seed {config['seed']}. "
            "Statements are worded by templates, or quoted from reports; nothing was written by a "
            "model. Patients and statements are disjoint between the splits."
        )
        sources = [
            [str(source[key]) for key in ("source", "layout", "digest")]
            for source in self.identity["sources"]
        ]
        yield from ("", *table(("source", "layout", "digest"), sources))
        yield from ("", f"Settings: {code(json.dumps(config))}", "")
        yield from self._records()
        for kind, title in _TITLES.items():
            yield from ("", f"## {title}", "")
            yield from self._table(kind)

    def _records(self) -> Iterator[str]:
        yield f"Records read: {self.counts.get('records/read', 0)}; used: " + (
            f"{self.counts.get('records/used', 0)}."
        )
        rows = []
        for group in ("skipped", "noted"):
            for reason, count in self.of(f"records/{group}").items():
                first = self.examples.get(reason, [])[:5]
                places = ", ".join(f"{source}:{row}" for source, row in first)
                rows.append((f"{reason} ({group})", str(count), places))
        for what, count in self.of("findings").items():
            rows.append((f"findings {what}, left out", str(count), ""))
        yield from ("", *table(("left out or noted", "records", "first rows"), rows))

    def _table(self, kind: str) -> list[str]:
        splits = [s for s in ("train", "val", "test") if f"{kind}/{s}" in self.counts]
        rows = [["all", *(str(self.counts[f"{kind}/{split}"]) for split in splits)]]
        for axis in _AXES:
            by = {split: self.of(f"{kind}/{split}/{axis}") for split in splits}
            for level in sorted({level for counts in by.values() for level in counts}):
                cells = [str(by[split].get(level, 0)) for split in splits]
                rows.append([f"{axis}: {level}", *cells])
        return table(["", *splits], rows)


def read_card(path: Path | str) -> Card:
    """Read a data card, from the `card.json` of a data set or from its folder.

    Raises:
        DatasetError: for a file that cannot be read or is no data card.
    """
    path = Path(path)
    path = path / "card.json" if path.is_dir() else path
    try:
        return card_from_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} is no data card ({error}); give a data set's folder") from error


def card_from_json(data: bytes) -> Card:
    """Return the card in the bytes of a `card.json`.

    Raises:
        ValueError: when they hold none.
    """
    document = parse_json(data)
    names = [field.name for field in fields(Card)]
    if not isinstance(document, dict) or set(document) != set(names):
        raise ValueError(f"it is no object of {', '.join(names)}")
    for name, fits in _FITS.items():
        if not fits(document[name]):
            raise ValueError(f"{name} does not hold what a data card has there")
    return Card(**document)


def _is_identity(value: Any) -> bool:
    match value:
        case {"version": str(), "config": {"seed": int()}, "key": str(), "sources": [*sources]}:
            keys = ("source", "layout", "digest")
            return all(isinstance(s, dict) and all(key in s for key in keys) for s in sources)
    return False


def _is_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(type(count) is int for count in value.values())


def _is_examples(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(rows, list) and all(isinstance(row, list) and len(row) == 2 for row in rows)
        for rows in value.values()
    )


def _is_files(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(file, dict) for file in value.values())


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "identity": _is_identity,
    "counts": _is_counts,
    "examples": _is_examples,
    "files": _is_files,
}
"""The fields of a card, each with its test."""
