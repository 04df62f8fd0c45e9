"""Very many pairs in a JSONL file, read again where they are needed instead of kept in memory."""

__all__ = ["PairFile", "pairs_of_file"]

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from typing_extensions import override

from negtrace._files import is_file
from negtrace._lazy import LazySequence
from negtrace.errors import PairError
from negtrace.pairs.jsonl import anchor_of_row, checked_lines, read_pairs
from negtrace.pairs.pair import Pair

MOST_HELD = 2_000
"""Most pairs of a file that are kept in memory."""

_DIGEST = 32
"""Bytes of a digest."""


class PairFile(LazySequence[Pair]):
    """The pairs of a JSONL file, checked once, then read again wherever they are used.

    What was found out about each pair is kept in a hundred bytes: its cue, subject and digests.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._starts, self._hashes = array("q"), array("q")
        self._cues, self._true = array("i"), bytearray()
        self._subjects, self._subject_of = array("i"), dict[str | None, int]()
        self._digests = bytearray()

    def add(self, start: int, line: bytes, pair: Pair) -> None:
        """Add the pair of a line.

        Args:
            start: byte at which the line starts.
            line: the line.
            pair: its pair.
        """
        self._starts.append(start)
        self._hashes.append(hash(line))
        self._cues.extend(pair.cue)
        self._true.append(pair.negated == "true")
        self._subjects.append(self._subject_of.setdefault(pair.subject, len(self._subject_of)))
        self._digests += bytes.fromhex(pair.digest) + bytes.fromhex(pair.anchor.digest)

    @override
    def __len__(self) -> int:
        return len(self._starts)

    @override
    def item(self, index: int) -> Pair:
        return next(self._read([index]))

    @override
    def items(self, index: slice) -> list[Pair]:
        return list(self._read(range(*index.indices(len(self)))))

    @override
    def __iter__(self) -> Iterator[Pair]:
        return self._read(range(len(self)))

    def _read(self, indices: Iterable[int]) -> Iterator[Pair]:
        """Yield the pairs at some indices.

        Raises:
            PairError: when the file can no longer be read, or a line has changed.
        """
        subjects = list(self._subject_of)
        try:
            with self._path.open("rb") as file:
                for index in indices:
                    yield self._pair(index, self._line(file, index), subjects)
        except OSError as error:
            raise PairError(
                f"{self._path} can no longer be read ({error.strerror}); leave it in place"
            ) from error

    def _line(self, file: BinaryIO, index: int) -> bytes:
        file.seek(self._starts[index])
        line = file.readline()
        if hash(line) != self._hashes[index]:
            raise PairError(
                f"{self._path} has changed since it was read first; leave it as it is meanwhile, "
                "and run again"
            )
        return line

    def _pair(self, index: int, line: bytes, subjects: Sequence[str | None]) -> Pair:
        """Return the pair of a line that was checked before."""
        row: dict[str, Any] = json.loads(line)
        digest, anchor_digest = (
            self._digests[start : start + _DIGEST].hex()
            for start in (2 * _DIGEST * index, (2 * index + 1) * _DIGEST)
        )
        anchor = anchor_of_row(row["anchor"], self._path.parent)
        # A cached property keeps its value there. An image is compared with it when it is opened.
        vars(anchor)["digest"] = anchor_digest
        found = {
            "anchor": anchor,
            "id": row.get("id") or digest[:12],
            "negated": "true" if self._true[index] else "false",
            "cue": tuple(self._cues[2 * index : 2 * index + 2]),
            "subject": subjects[self._subjects[index]],
        }
        pair = Pair(**{**row, **found})
        vars(pair)["digest"] = digest
        return pair


def pairs_of_file(path: Path, on_error: Literal["raise", "skip"] = "raise") -> Sequence[Pair]:
    """Return the pairs of a JSONL file as `read_pairs` does; very many are not kept in memory.

    Raises:
        PairError: as `read_pairs` does.
    """
    if not is_file(path):  # a pipe can be read once only
        return read_pairs(path, on_error)
    held: list[Pair] | None = []
    pairs = PairFile(path)
    for start, line, pair in checked_lines(path, on_error):
        if len(pairs) == MOST_HELD:
            held = None
        if held is not None:
            held.append(pair)
        pairs.add(start, line, pair)
    return pairs if held is None else held
