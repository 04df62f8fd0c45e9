"""VALSE's *existence* file (Parcalabescu et al. 2022, arXiv 2112.07566): captions and their foils.

A foil differs from its caption by a negator: "There are cars." and "There are no cars."
"""

__all__ = ["ValseRow", "read_valse_rows", "valse_pairs"]

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from negtrace._files import is_file
from negtrace._json import parse_json
from negtrace._messages import excerpt
from negtrace.errors import NegtraceWarning, PairError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair
from negtrace.pairs.sources import SOURCES

_THERE_IS = re.compile(r"(?P<head>there (?:is|are) )(?:an? |no )?(?P<tail>\S.*)", re.IGNORECASE)
_NO = re.compile(r"\bno\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ValseRow:
    """A row of VALSE existence."""

    key: str
    caption: str
    """The statement that is true of the image."""
    foil: str
    """The statement that is false of it."""
    image_file: str
    provenance: str
    """`something_to_zero` if the foil is the negated one, `zero_to_something` if the caption is."""
    votes: int
    """Annotators, of three, who agreed with the caption and not with the foil."""

    @property
    def affirmative(self) -> bool:
        """True if the caption is the affirmative statement."""
        return self.provenance == "something_to_zero"

    def pair(self, *, rephrase: bool = True, images: Path | None = None) -> Pair:
        """Return the row as a pair; see `valse_pairs` for the arguments.

        Raises:
            PairError: when the negated statement has no "no", or the image file does not exist.
        """
        affirmative, negated = self.caption, self.foil
        if not self.affirmative:
            affirmative, negated = negated, affirmative
        anchor = Anchor(text=_photo(affirmative)) if images is None else self._image(images)
        if rephrase:
            affirmative = _equally_long(affirmative, negated)
        # VALSE's own negator is the first "no". Some captions hold a further cue.
        cue = _NO.search(negated)
        if cue is None:
            raise PairError(
                f"row {excerpt(self.key)} has no 'no' in its negated statement; leave it out"
            )
        return Pair(
            id=self.key,
            true=affirmative if self.affirmative else negated,
            false=negated if self.affirmative else affirmative,
            anchor=anchor,
            negated="false" if self.affirmative else "true",
            cue=cue.span(),
            tags={"provenance": self.provenance},
        )

    def _image(self, images: Path) -> Anchor:
        image = images / self.image_file
        if not is_file(image):
            raise PairError(f"no image file at {image}; give the folder that holds VALSE's images")
        return Anchor(image=image)


def read_valse_rows(path: str | Path) -> Iterator[tuple[int, ValseRow | PairError]]:
    """Yield the number of each row, from 1, and the row or the reason why it cannot be read.

    Raises:
        PairError: for a file that cannot be read or is not an object of rows.
    """
    path = Path(path)
    try:
        rows = parse_json(path.read_bytes(), foreign=True)
    except OSError as error:
        raise PairError(f"{path} cannot be read ({error.strerror}); give VALSE's JSON") from error
    except ValueError as error:
        raise PairError(f"{path} is not VALSE existence ({error}); {_EXPECTED}") from error
    if not isinstance(rows, dict):
        raise PairError(
            f"{path} is not VALSE existence (a JSON {type(rows).__name__}); {_EXPECTED}"
        )
    for number, (key, row) in enumerate(rows.items(), start=1):
        yield number, _row(key, row)


_EXPECTED = (
    "expected an object of rows with caption, foil, image_file, provenance_of_foils and mturk votes"
)


def _row(key: str, row: Any) -> ValseRow | PairError:
    match row:
        case {
            "caption": str(caption),
            "foil": str(foil),
            "image_file": str(image_file),
            "provenance_of_foils": str(provenance),
            "mturk": {"caption": int(votes)},
        } if caption.strip() and foil.strip():
            return ValseRow(
                key=key,
                caption=caption,
                foil=foil,
                image_file=image_file,
                provenance=provenance,
                votes=votes,
            )
    return PairError(f"row {excerpt(key)} lacks a field; {_EXPECTED}")


def valse_pairs(
    path: str | Path, *, min_votes: int = 2, rephrase: bool = True, images: Path | None = None
) -> list[Pair]:
    """Read the *existence* part of VALSE as pairs: the caption is true, the foil is false.

    Args:
        path: VALSE's JSON file.
        min_votes: leave out rows whose caption fewer annotators confirmed, as the benchmark does.
        rephrase: give both statements one length, "There are some X." and "There are no X.",
            after Quantmeyer et al. 2024 (arXiv 2407.10488). Rows of another pattern stay as they
            are.
        images: folder of the image files. Without it, the anchor is a text made of the affirmative
            caption ("A photo of X."). A negated caption has no such text, so its row is left out
            and a warning counts these rows.

    Raises:
        PairError: for a file that is not VALSE existence, or of which no row is left.
    """
    confirmed = []
    for _, row in read_valse_rows(path):
        if isinstance(row, PairError):
            raise PairError(f"{path} is not VALSE existence: {row}")
        if row.votes >= min_votes:
            confirmed.append(row)
    usable = [row for row in confirmed if images is not None or row.affirmative]
    if not usable:
        raise PairError(f"{path}: no row is left with {min_votes} votes; lower min_votes")
    if len(usable) < len(confirmed):
        left_out = f"{len(confirmed) - len(usable)} of {len(confirmed)} rows left out"
        warnings.warn(
            f"{path}: {left_out}, their captions are negated and have no affirmative anchor; "
            "give the folder of the images to use them",
            category=NegtraceWarning,
            stacklevel=2,
        )
    return [row.pair(rephrase=rephrase, images=images) for row in usable]


def _equally_long(affirmative: str, negated: str) -> str:
    """Return the affirmative statement with "some" in the place of the other's "no".

    It is returned unchanged where the two differ by more than that word.

    >>> _equally_long("There is a cat.", "There is no cat.")
    'There is some cat.'
    >>> _equally_long("You see horses.", "You see no horses.")
    'You see some horses.'
    >>> _equally_long("Nothing is here.", "There is no cat.")
    'Nothing is here.'
    """
    no = _NO.search(negated)
    if no is None:
        return affirmative
    before, after = negated[: no.start()], negated[no.end() :]
    if _words(before + after) != _words(affirmative):
        return affirmative
    return before + ("Some" if no.group().istitle() else "some") + after


def _words(statement: str) -> list[str]:
    """Return the words, without an article after "there is" or "there are"."""
    match = _THERE_IS.fullmatch(statement)
    return (match["head"] + match["tail"] if match else statement).lower().split()


def _photo(affirmative: str) -> str:
    """Return an affirmative caption in other words, without "there is".

    >>> _photo("There are cars parked.")
    'A photo of cars parked.'
    >>> _photo("The elephants have tusks.")
    'A photo in which the elephants have tusks.'
    """
    if _THERE_IS.fullmatch(affirmative):
        return f"A photo of {affirmative.split(' ', 2)[2]}"
    return f"A photo in which {affirmative[0].lower()}{affirmative[1:]}"


@SOURCES.register("valse")
def _valse(*, file: Path | None, n: int, seed: int) -> list[Pair]:
    """Captions of photographs and their foils, from VALSE's existence file (give `file`)."""
    if file is None:
        raise PairError("the source 'valse' reads a file and got none; give VALSE's existence JSON")
    return valse_pairs(file)
