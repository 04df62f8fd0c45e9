"""Pairs in JSONL files: one object a line, image paths relative to the file's folder."""

__all__ = ["anchor_as_json", "anchor_of_row", "checked_lines", "read_pairs", "write_pairs"]

import difflib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from negtrace._files import is_file, write_bytes
from negtrace._json import parse_json
from negtrace._messages import excerpt
from negtrace.errors import NegtraceWarning, PairError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

SHOWN = 3
"""Bad lines that a warning shows."""

LONGEST_LINE = 4_000_000
"""Bytes of the longest line that is read."""


def read_pairs(path: str | Path, on_error: Literal["raise", "skip"] = "raise") -> list[Pair]:
    """Read pairs from JSONL, one object a line; image files are relative to the file's folder.

    Keys: true, false, anchor ({"text": ...} or {"image": "a.png"}); optionally id, subject,
    negated with cue ([start, end]), and tags.

    Args:
        path: the file.
        on_error: "raise" stops at the first bad line. "skip" leaves bad lines out, and a warning
            says how many and why; a file without one good pair is an error all the same.

    Raises:
        PairError: for a file or line that cannot be used, or an id that occurs twice. The message
            names the file and the line.
    """
    # Without a frame of its own between this function and the generator, which may warn.
    return list(map(itemgetter(2), checked_lines(Path(path), on_error)))


def checked_lines(
    path: Path, on_error: Literal["raise", "skip"]
) -> Iterator[tuple[int, bytes, Pair]]:
    """Yield every usable line of a JSONL file: its first byte, its bytes and its pair.

    Args:
        path: the file.
        on_error: as of `read_pairs`.

    Raises:
        PairError: as `read_pairs` does; for an unusable file after its last line.
    """
    if on_error not in ("raise", "skip"):
        raise PairError(f"on_error is {on_error!r}; expected 'raise' or 'skip'")
    ids: set[str] = set()
    errors: list[str] = []
    bad = 0
    for number, start, line in _lines(path):
        try:
            pair = _pair(line.removesuffix(b"\n"), path.parent)
            if pair.id in ids:
                raise PairError(f"the id {excerpt(pair.id)} occurs before; make each id unique")
        except PairError as error:
            bad += 1
            errors += [f"{path}, line {number}: {error}"] if bad <= SHOWN else []
            if on_error == "raise":
                raise PairError(errors[-1]) from error
        else:
            ids.add(pair.id)
            yield start, line, pair
    if not ids:
        reason = errors[0] if errors else "expected one JSON object a line"
        raise PairError(f"{path} holds no usable pair; {reason}")
    if bad:
        shown = "\n".join([*errors, *["..."][: bad > SHOWN]])
        counts = f"{bad} of {bad + len(ids)} lines skipped"
        warnings.warn(f"{path}: {counts}\n{shown}", NegtraceWarning, stacklevel=3)


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, first byte and content of each line that is not blank."""
    start = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                mark = BYTE_ORDER_MARK if number == 1 and line.startswith(BYTE_ORDER_MARK) else b""
                content = line.removeprefix(mark)
                if content.strip():
                    yield number, start + len(mark), content
                start += len(line)
    except OSError as error:
        raise PairError(
            f"{path} cannot be read ({error.strerror}); give the path of a JSONL file"
        ) from error


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_object_of_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _is_polarity(value: object) -> bool:
    return value in ("true", "false")


def _is_span(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(end) is int for end in value)


_KEYS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "true": ("a text", _is_text),
    "false": ("a text", _is_text),
    "anchor": ('{"text": ...} or {"image": ...}', _is_object_of_texts),
    "id": ("a text", _is_text),
    "subject": ("a text", _is_text),
    "negated": ('"true" or "false"', _is_polarity),
    "cue": ("[start, end]", _is_span),
    "tags": ("an object of texts", _is_object_of_texts),
}
"""The keys of a line, in the order they are written: the expected value, and its test."""


def _pair(line: bytes, folder: Path) -> Pair:
    if len(line) > LONGEST_LINE:
        raise PairError(f"{len(line)} bytes; expected {LONGEST_LINE} or fewer: no model reads more")
    try:
        row = parse_json(line)
    except UnicodeDecodeError as error:
        raise PairError(f"not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    except ValueError as error:
        raise PairError(f"not JSON ({error}); write one object a line") from error
    if not isinstance(row, dict):
        raise PairError(f"a JSON {type(row).__name__}; expected an object with {', '.join(_KEYS)}")
    _require_keys(row, known=tuple(_KEYS), needed=("true", "false", "anchor"))
    for key, value in row.items():
        expected, fits = _KEYS[key]
        if not fits(value):
            raise PairError(f"the value of {excerpt(key)} is {excerpt(value)}; expected {expected}")
    _require_keys(row["anchor"], known=("text", "image"), needed=())
    anchor = anchor_of_row(row.pop("anchor"), folder)
    if "cue" in row:
        row["cue"] = tuple(row["cue"])
    return Pair(anchor=anchor, **row)


def _require_keys(row: Mapping[str, Any], known: Sequence[str], needed: Sequence[str]) -> None:
    """Raise a PairError for a key that is unknown or missing."""
    for key in row:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
            raise PairError(f"unknown key {excerpt(key)}; {hint}")
    missing = [key for key in needed if key not in row]
    if missing:
        raise PairError(
            f"missing {', '.join(map(repr, missing))}; a pair needs {', '.join(needed)}"
        )


def anchor_of_row(row: Mapping[str, str], folder: Path) -> Anchor:
    """Return the anchor that stands in a line of a file in this folder.

    Raises:
        PairError: when it cannot be used.
    """
    image = folder / row["image"] if "image" in row else None
    if image is not None and not is_file(image):
        raise PairError(f"no image file at {image}; paths are relative to the pairs file")
    return Anchor(text=row.get("text"), image=image)


def write_pairs(pairs: Iterable[Pair], path: str | Path) -> None:
    """Write pairs in the format of `read_pairs`. After an error the old file is still there.

    Images in memory become PNG files in `<stem>_images/` beside the file.

    Raises:
        PairError: for no pairs, or an id that occurs twice.
        OutputError: when the file or an image cannot be written.
    """
    path, pairs = Path(path), list(pairs)
    ids = [pair.id for pair in pairs]
    if len(set(ids)) < len(ids) or not ids:
        trouble = "an id occurs twice" if ids else "there is none"
        raise PairError(f"{len(ids)} pairs cannot be written: {trouble}; give pairs of unique id")
    rows = [json.dumps(_row(pair, path), ensure_ascii=False) for pair in pairs]
    write_bytes(path, ("\n".join(rows) + "\n").encode())


def _row(pair: Pair, path: Path) -> dict[str, Any]:
    row = {key: getattr(pair, key) for key in _KEYS}
    row["anchor"] = anchor_as_json(pair.anchor, path)
    return {key: value for key, value in row.items() if value not in (None, {})}


def anchor_as_json(anchor: Anchor, path: Path) -> dict[str, str]:
    """Return an anchor as it stands in the JSONL file at `path`.

    An image in memory is first written to a file, named after its digest.
    """
    if anchor.text is not None:
        return {"text": anchor.text}
    image = anchor.image
    if not isinstance(image, Path):
        image = path.with_name(f"{path.stem}_images") / f"{anchor.digest[:16]}.png"
        write_bytes(image, anchor.png())
    try:
        return {"image": Path(os.path.relpath(image, path.parent)).as_posix()}
    except ValueError:  # On Windows, the two can be on different drives.
        return {"image": image.absolute().as_posix()}
