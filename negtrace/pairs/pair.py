"""Pairs: a true and a false statement about one anchor, one of them negated; JSONL; digests."""

__all__ = ["Anchor", "Pair", "digest", "read_pairs", "write_pairs"]

import difflib
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from negtrace.errors import NegtraceWarning, OutputError, PairError
from negtrace.language.cues import Cue, find_cues, subject_of, subject_span
from negtrace.pairs.anchor import Anchor, require_text

Polarity = Literal["true", "false"]
Span = tuple[int, int]

_FIND = cast(Any, None)
"""Default of a field that is never None once a pair is made."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A minimal contrast: of two statements about one anchor, exactly one is negated, by one cue.

    The cue is found in the text, and so is what it negates. Where both statements share another
    cue, say which one counts with `negated` and `cue`; nothing is searched then.

    >>> pair = Pair(
    ...     true="There is no effusion.",
    ...     false="There is some effusion.",
    ...     anchor=Anchor(text="The costophrenic angles are sharp."),
    ... )
    >>> pair.negated, pair.cue, pair.subject
    ('true', (9, 11), 'effusion')

    Raises:
        PairError: for equal or blank statements, no cue, a cue in both, two cues in one, a cue
            outside the text, or a subject that the negated statement does not hold.
    """

    true: str
    false: str
    anchor: Anchor
    id: str = ""
    """Unique name; left out, the start of the digest."""
    subject: str | None = None
    """What is negated; left out, the first noun phrase in the cue's scope, if there is one."""
    negated: Polarity = _FIND
    """Which statement is negated; left out, the one in which a cue is found."""
    cue: Span = _FIND
    """Character span of the cue in the negated statement; left out, it is found."""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Labels to group results by; they do not count in the digest."""

    def __post_init__(self) -> None:
        require_text("true statement", self.true)
        require_text("false statement", self.false)
        if self.true == self.false:
            raise PairError(
                "the true and the false statement are equal; they must differ by a negation"
            )
        if (self.negated is None) != (self.cue is None):
            raise PairError("only one of `negated` and `cue` is given; give both or neither")
        negated, cue = self._found() if self.cue is None else self._given()
        text = self.true if negated == "true" else self.false
        subject = _derived(text, cue) if self.subject is None else self.subject
        if subject is not None and subject_span(text, subject, cue=cue) is None:
            raise PairError(
                f"the subject {subject!r} is not in the negated statement {text!r}; "
                "give words that stand in it outside its cue, or leave the subject out"
            )
        self._fill(negated=negated, cue=cue, subject=subject, tags=dict(self.tags))
        self._fill(id=self.id or self.digest[:12])

    def _fill(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _found(self) -> tuple[Polarity, Span]:
        """Return the one negated statement and its one cue."""
        found: dict[Polarity, tuple[Cue, ...]]
        found = {"true": find_cues(self.true), "false": find_cues(self.false)}
        held: list[Polarity] = [side for side, cues in found.items() if cues]
        way_out = "or say which cue counts with `negated` and `cue`"
        if not held:
            raise PairError(
                f"no cue of negation in {self.true!r} nor in {self.false!r}; "
                f"reword the negated one, {way_out}"
            )
        if len(held) == 2:
            raise PairError(
                f"a cue in both statements: {found['true'][0].text!r} in {self.true!r} and "
                f"{found['false'][0].text!r} in {self.false!r}; make one affirmative, {way_out}"
            )
        cues = found[held[0]]
        if len(cues) > 1:
            text = self.true if held[0] == "true" else self.false
            raise PairError(
                f"{len(cues)} cues in one statement, "
                f"{', '.join(repr(cue.text) for cue in cues)} in {text!r}; keep one, {way_out}"
            )
        return held[0], (cues[0].start, cues[0].end)

    def _given(self) -> tuple[Polarity, Span]:
        if self.negated not in ("true", "false"):
            raise PairError(f"negated is {self.negated!r}; expected 'true' or 'false'")
        start, end = self.cue
        text = self.true if self.negated == "true" else self.false
        if not 0 <= start < end <= len(text) or not text[start:end].strip():
            raise PairError(
                f"the cue ({start}, {end}) spans no word of the negated statement {text!r}, which "
                f"has {len(text)} characters; give (first character, character after the last)"
            )
        return self.negated, (start, end)

    @property
    def negated_statement(self) -> str:
        """The statement that holds the cue."""
        return self.true if self.negated == "true" else self.false

    @property
    def affirmative_statement(self) -> str:
        """The other one."""
        return self.false if self.negated == "true" else self.true

    @cached_property
    def digest(self) -> str:
        """SHA-256 of statements, anchor, polarity and cue; not of id, subject and tags."""
        content = [self.true, self.false, self.anchor.digest, self.negated, *self.cue]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _derived(text: str, cue: Span) -> str | None:
    return next(
        (subject_of(text, found) for found in find_cues(text) if (found.start, found.end) == cue),
        None,
    )


def digest(pairs: Iterable[Pair]) -> str:
    """Return one SHA-256 over the digests of all pairs, whatever their order."""
    return hashlib.sha256("".join(sorted(pair.digest for pair in pairs)).encode()).hexdigest()


def read_pairs(path: str | Path, on_error: Literal["raise", "skip"] = "raise") -> list[Pair]:
    """Read pairs from JSONL, one object a line; image files are relative to the file's folder.

    Keys: true, false, anchor ({"text": ...} or {"image": "a.png"}), and if wanted id, subject,
    negated with cue ([start, end]), tags. With "skip" bad lines are left out and a warning says
    how many and why; a file without one good pair is an error all the same.

    Raises:
        PairError: naming file and line, for a file or line that cannot be used, or an id that
            occurs twice.
    """
    if on_error not in ("raise", "skip"):
        raise PairError(f"on_error is {on_error!r}; expected 'raise' or 'skip'")
    path = Path(path)
    pairs: dict[str, Pair] = {}
    bad: list[str] = []
    for number, line in _lines(path):
        try:
            pair = _parse(line, path.parent)
            if pair.id in pairs:
                raise PairError(f"the id {pair.id!r} occurs before; make each id unique")
            pairs[pair.id] = pair
        except PairError as error:
            bad.append(f"{path}, line {number}: {error}")
            if on_error == "raise":
                raise PairError(bad[-1]) from error
    if not pairs:
        why = f"; {bad[0]}" if bad else "; expected one JSON object a line"
        raise PairError(f"{path} holds no usable pair{why}")
    if bad:
        told = "\n".join([*bad[:3], *["..."][: len(bad) > 3]])
        counts = f"{len(bad)} of {len(bad) + len(pairs)} lines skipped"
        warnings.warn(f"{path}: {counts}\n{told}", NegtraceWarning, stacklevel=2)
    return list(pairs.values())


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the number and content of the lines that are not blank."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PairError(
            f"{path} cannot be read ({error.strerror}); give the path of a JSONL file"
        ) from error
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            yield number, line


def _is_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _is_span(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(v) is int for v in value)


_IS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "true": ("a text", lambda value: isinstance(value, str)),
    "false": ("a text", lambda value: isinstance(value, str)),
    "anchor": ('{"text": ...} or {"image": ...}', _is_texts),
    "id": ("a text", lambda value: isinstance(value, str)),
    "subject": ("a text", lambda value: isinstance(value, str)),
    "negated": ('"true" or "false"', lambda value: value in ("true", "false")),
    "cue": ("[start, end]", _is_span),
    "tags": ("an object of texts", _is_texts),
}


def _parse(line: bytes, folder: Path) -> Pair:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise PairError(f"not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise PairError(f"not JSON ({error}); write one object a line") from error
    if not isinstance(row, dict):
        raise PairError(f"a JSON {type(row).__name__}; expected an object with {', '.join(_IS)}")
    _require_keys(row, known=tuple(_IS), needed=("true", "false", "anchor"))
    for key, value in row.items():
        expected, fits = _IS[key]
        if not fits(value):
            raise PairError(f"the value of {key!r} is {value!r}; expected {expected}")
    _require_keys(row["anchor"], known=("text", "image"), needed=())
    anchor = _anchor(row.pop("anchor"), folder)
    if "cue" in row:
        row["cue"] = tuple(row["cue"])
    return Pair(anchor=anchor, **row)


def _require_keys(row: Mapping[str, Any], known: Sequence[str], needed: Sequence[str]) -> None:
    for key in row:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
            raise PairError(f"unknown key {key!r}; {hint}")
    missing = [key for key in needed if key not in row]
    if missing:
        raise PairError(
            f"missing {', '.join(map(repr, missing))}; a pair needs {', '.join(needed)}"
        )


def _anchor(row: Mapping[str, str], folder: Path) -> Anchor:
    image = folder / row["image"] if "image" in row else None
    if image is not None and not image.is_file():
        raise PairError(f"no image file at {image}; paths are relative to the pairs file")
    return Anchor(text=row.get("text"), image=image)


def write_pairs(pairs: Iterable[Pair], path: str | Path) -> None:
    """Write pairs as `read_pairs` reads them, or leave what is there untouched.

    Images that are in memory become PNG files in `<stem>_images/` beside the file.

    Raises:
        PairError: for no pairs, or an id that occurs twice.
        OutputError: when the place cannot be written.
    """
    path, pairs = Path(path), list(pairs)
    ids = [pair.id for pair in pairs]
    if len(set(ids)) < len(ids) or not ids:
        trouble = "an id occurs twice" if ids else "there is none"
        raise PairError(f"{len(ids)} pairs cannot be written: {trouble}; give pairs of unique id")
    try:
        rows = [json.dumps(_row(pair, path), ensure_ascii=False) for pair in pairs]
        _replace(path, lambda file: file.write_text("\n".join(rows) + "\n", "utf-8", newline="\n"))
    except OSError as error:
        raise OutputError(
            f"{error.filename or path} cannot be written ({error.strerror}); "
            "choose a folder that exists and that you may write to"
        ) from error


def _row(pair: Pair, path: Path) -> dict[str, Any]:
    row = {key: getattr(pair, key) for key in _IS}
    row["anchor"] = _place(pair, path)
    return {key: value for key, value in row.items() if value not in (None, {})}


def _place(pair: Pair, path: Path) -> dict[str, str]:
    """Return the anchor as JSON; an image in memory is written first."""
    anchor = pair.anchor
    if anchor.text is not None:
        return {"text": anchor.text}
    image = anchor.image
    if not isinstance(image, Path):
        image = path.with_name(f"{path.stem}_images") / f"{anchor.digest[:16]}.png"
        image.parent.mkdir(exist_ok=True)
        _replace(image, anchor.save_image)
    try:
        return {"image": Path(os.path.relpath(image, path.parent)).as_posix()}
    except ValueError:  # Another drive on Windows.
        return {"image": image.absolute().as_posix()}


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then put it in the place of `path` in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
