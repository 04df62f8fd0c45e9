"""What a suite found of a model: rows, notes, and what was asked, item by item."""

__all__ = ["Work", "about", "about_items", "items_told"]

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from numpy import ndarray

from negtrace._files import canonical, sha256
from negtrace.bench.items import Item
from negtrace.bench.report import Row
from negtrace.datasets.note import Note
from negtrace.pairs.anchor import Anchor


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a suite found."""

    rows: tuple[Row, ...]
    noted: tuple[Note, ...] = ()
    data: Mapping[str, Any]
    """Name of the data, kind of its anchors, digest, and number of items."""
    items: tuple[Mapping[str, Any], ...] = ()


def about(name: str, anchors: Iterable[Anchor], asked: Any, count: int) -> dict[str, Any]:
    """Return what a report says of its data.

    Args:
        name: of the data.
        anchors: what statements were put to; none where they were compared with each other.
        asked: everything that was asked, as JSON values, for the digest.
        count: of items.
    """
    kinds = {"text" if anchor.text is not None else "image" for anchor in anchors}
    return {
        "name": name,
        "anchors": " and ".join(sorted(kinds)) or "none",
        "digest": sha256(canonical(asked)),
        "items": count,
    }


def about_items(name: str, items: Sequence[Item]) -> dict[str, Any]:
    """Return what a report says of items: the digest is of anchors, statements and answers."""
    asked = [[item.id, item.anchor.digest, list(item.texts), item.answer] for item in items]
    return about(name, [item.anchor for item in items], asked, len(items))


def items_told(
    items: Sequence[Item], right: Mapping[str, Float[ndarray, " item"]], *, include_text: bool
) -> tuple[dict[str, Any], ...]:
    """Return each item for a report, its statements only if they are to be included.

    Args:
        items: what was asked.
        right: under a name each, 1 for every item that was got right, else 0.
        include_text: whether statements are told.
    """
    return tuple(
        {
            "id": item.id,
            "answer": item.answer,
            "right": {name: bool(own[place]) for name, own in right.items()},
            **({"texts": {"options": list(item.texts)}} if include_text else {}),
        }
        for place, item in enumerate(items)
    )
