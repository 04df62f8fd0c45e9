"""Where pairs come from: built-in radiology, the phantom's radiographs, VALSE existence."""

__all__ = [
    "SOURCES",
    "Source",
    "pairs_from",
    "phantom_pairs",
    "radiology_pairs",
    "valse_pair",
    "valse_pairs",
]

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from negtrace._registry import Registry
from negtrace.errors import NegtraceWarning, PairError
from negtrace.language.findings import FINDINGS, Finding
from negtrace.language.wording import finding_twins
from negtrace.pairs.pair import Anchor, Pair


class Source(Protocol):
    """A way to get pairs; each takes from these what it needs."""

    def __call__(self, *, file: Path | None, n: int, seed: int) -> list[Pair]:
        """Return the pairs."""
        ...


SOURCES: Registry[Source] = Registry("source of pairs")
"""The sources by name, as in `negtrace pairs NAME`."""


def pairs_from(name: str, *, file: Path | None = None, n: int = 96, seed: int = 0) -> list[Pair]:
    """Return the pairs of the source called `name`.

    >>> len(pairs_from("radiology"))
    140

    Raises:
        UnknownNameError: for a name that is not registered.
        PairError: for a source that needs a file and gets none.
    """
    return SOURCES[name](file=file, n=n, seed=seed)


def radiology_pairs() -> list[Pair]:
    """Return text-anchored pairs on every finding in every twin template.

    Each comes twice: its affirmative equivalent makes the negated twin true ("normal"), a wording
    of the finding that does not name it makes the affirmative twin true ("abnormal").

    >>> radiology_pairs()[0].id
    'effusion-0-normal'
    """
    return [
        pair
        for finding in FINDINGS.values()
        for template, (affirmed, negated) in enumerate(finding_twins(finding))
        for pair in _two_conditions(finding, template, affirmed, negated)
    ]


def _two_conditions(finding: Finding, template: int, affirmed: str, negated: str) -> Iterator[Pair]:
    for condition, true, false, anchor in (
        ("normal", negated, affirmed, finding.normal),
        ("abnormal", affirmed, negated, finding.abnormal),
    ):
        yield Pair(
            id=f"{finding.key}-{template}-{condition}",
            true=true,
            false=false,
            anchor=Anchor(text=anchor),
            subject=finding.term,
            tags={"finding": finding.key, "template": str(template), "condition": condition},
        )


def phantom_pairs(n: int = 96, *, seed: int = 0, size: int = 48) -> list[Pair]:
    """Return `n` pairs on held-out synthetic radiographs of `size` x `size` pixels.

    Present and absent findings take turns, and so do findings and templates.
    """
    from negtrace.phantom.contrasts import contrasts

    return [
        Pair(
            id=f"phantom-{seed}-{place}",
            true=contrast.true,
            false=contrast.false,
            anchor=Anchor(image=contrast.patient.image(size)),
            subject=FINDINGS[contrast.claim.finding].term,
            tags={
                "finding": contrast.claim.finding,
                "template": str(contrast.template),
                "condition": "abnormal" if contrast.claim.present else "normal",
            },
        )
        for place, contrast in enumerate(contrasts(n, seed=seed))
    ]


_THERE = re.compile(r"(?P<head>there (?:is|are) )(?:an? |no )?(?P<tail>\S.*)", re.IGNORECASE)
_NO = re.compile(r"\bno\b", re.IGNORECASE)


def valse_pairs(
    path: str | Path, *, min_votes: int = 2, rephrase: bool = True, images: Path | None = None
) -> list[Pair]:
    """Read the *existence* part of VALSE (Parcalabescu et al. 2022, arXiv 2112.07566).

    The caption is the true statement, the foil the false one. Rows whose caption fewer than
    `min_votes` annotators upheld are left out, as the benchmark does.

    With `rephrase` both statements get one length, "There are some X." and "There are no X.",
    after Quantmeyer et al. 2024 (arXiv 2407.10488); rows of another pattern stay as they are.

    `images` is the folder of the image files. Without it the affirmative caption is worded anew
    as a text anchor ("A photo of X."). A negated caption has no affirmative equivalent to be
    anchored on, so such rows are left out and a warning counts them.

    Raises:
        PairError: for a file that is not VALSE existence, or of which nothing is left.
    """
    path = Path(path)
    kept = {
        key: row for key, row in _valse_rows(path).items() if row["mturk"]["caption"] >= min_votes
    }
    usable = {
        key: row
        for key, row in kept.items()
        if images is not None or row["provenance_of_foils"] == "something_to_zero"
    }
    if not usable:
        raise PairError(f"{path}: no row is left with {min_votes} votes; lower min_votes")
    if len(usable) < len(kept):
        warnings.warn(
            f"{path}: {len(kept) - len(usable)} of {len(kept)} rows left out, their captions are "
            "negated and have no affirmative anchor; give the folder of the images to use them",
            category=NegtraceWarning,
            stacklevel=2,
        )
    return [valse_pair(key, row, rephrase=rephrase, images=images) for key, row in usable.items()]


def _valse_rows(path: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        rows = json.loads(path.read_text("utf-8"))
        for row in rows.values():
            _ = row["caption"] + row["foil"] + row["image_file"] + row["provenance_of_foils"]
            _ = row["mturk"]["caption"] >= 0
    except OSError as error:
        raise PairError(f"{path} cannot be read ({error.strerror}); give VALSE's JSON") from error
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise PairError(
            f"{path} is not VALSE existence ({type(error).__name__}: {error}); expected an object "
            "of rows with caption, foil, image_file, provenance_of_foils and mturk votes"
        ) from error
    return dict(rows)


def valse_pair(
    key: str, row: Mapping[str, Any], *, rephrase: bool = True, images: Path | None = None
) -> Pair:
    """Return one row of VALSE existence as a pair, as `valse_pairs` does.

    Raises:
        PairError: for a row without a "no", or whose image is not there.
    """
    emptied = row["provenance_of_foils"] == "something_to_zero"
    affirmed, negated = (row["caption"], row["foil"]) if emptied else (row["foil"], row["caption"])
    anchor = Anchor(text=_photo(affirmed)) if images is None else _picture(row, images)
    if rephrase:
        affirmed, negated = _equal_length(affirmed, negated)
    # The negator VALSE put in is its first "no"; some captions hold another cue of their own.
    cue = _NO.search(negated)
    if cue is None:
        raise PairError(f"row {key!r} has no 'no' in its negated statement; leave it out")
    return Pair(
        id=key,
        true=affirmed if emptied else negated,
        false=negated if emptied else affirmed,
        anchor=anchor,
        negated="false" if emptied else "true",
        cue=cue.span(),
        tags={"provenance": row["provenance_of_foils"]},
    )


def _picture(row: Mapping[str, Any], images: Path) -> Anchor:
    image = images / row["image_file"]
    if not image.is_file():
        raise PairError(f"no image file at {image}; give the folder that holds VALSE's images")
    return Anchor(image=image)


def _equal_length(affirmed: str, negated: str) -> tuple[str, str]:
    """Put "some" where the negated statement has "no", if the two differ by that word alone.

    >>> _equal_length("There is a cat.", "There is no cat.")
    ('There is some cat.', 'There is no cat.')
    >>> _equal_length("You see horses.", "You see no horses.")
    ('You see some horses.', 'You see no horses.')
    >>> _equal_length("Nothing is here.", "There is no cat.")
    ('Nothing is here.', 'There is no cat.')
    """
    found = _NO.search(negated)
    if found is None or _bare(negated[: found.start()] + negated[found.end() :]) != _bare(affirmed):
        return affirmed, negated
    some = "Some" if found.group().istitle() else "some"
    return negated[: found.start()] + some + negated[found.end() :], negated


def _bare(statement: str) -> list[str]:
    """Return the words, without an article behind "there is" or "there are"."""
    there = _THERE.fullmatch(statement)
    return (there["head"] + there["tail"] if there else statement).lower().split()


def _photo(affirmed: str) -> str:
    """Word an affirmative caption anew, as a caption without a verb.

    >>> _photo("There are cars parked.")
    'A photo of cars parked.'
    >>> _photo("The elephants have tusks.")
    'A photo in which the elephants have tusks.'
    """
    there = _THERE.fullmatch(affirmed)
    if there:
        head = affirmed.split(" ", 2)[2]
        return f"A photo of {head}"
    return f"A photo in which {affirmed[0].lower()}{affirmed[1:]}"


@SOURCES.register("radiology")
def _radiology(*, file: Path | None, n: int, seed: int) -> list[Pair]:
    return radiology_pairs()


@SOURCES.register("phantom")
def _phantom(*, file: Path | None, n: int, seed: int) -> list[Pair]:
    return phantom_pairs(n, seed=seed)


@SOURCES.register("valse")
def _valse(*, file: Path | None, n: int, seed: int) -> list[Pair]:
    if file is None:
        raise PairError("the source 'valse' reads a file and got none; give VALSE's existence JSON")
    return valse_pairs(file)
