"""NegBench's and VALSE's files, their biases neutralised.

In NegBench's multiple choice (Alhamoud et al. 2025, arXiv 2501.09425) the right caption is the
first of every row: places are shuffled, and a tie counts against the model. Kinds of the right
caption are unequally frequent, so accuracy is reported by kind and balanced over kinds. The images
are COCO's and Visual7W's; without them a row is anchored on a text where one can be made, and left
out with the reason where not.
"""

__all__ = ["Pool", "filed_place", "read_choices", "read_gallery", "read_valse", "results"]

import ast
import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from negtrace.anchors import Anchor
from negtrace.bench import baselines, scoring
from negtrace.bench.items import Item
from negtrace.bench.rates import Bootstrap, by_tag, correct
from negtrace.bench.report import Noted, Row
from negtrace.bench.retrieval import Gallery
from negtrace.bench.tables import Record, Table, read_table
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError, NegtraceWarning, PairError
from negtrace.pair_sources import valse_pairs

CAPTIONS = tuple(f"caption_{place}" for place in range(4))
CHOICES = ("image_path", "correct_answer", "correct_answer_template", *CAPTIONS)
RETRIEVAL = ("filepath", "captions", "positive_objects")


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Items of a file, what was left out, and how often each place is right as filed."""

    items: tuple[Item, ...]
    noted: tuple[Noted, ...]
    filed: Mapping[str, int]


def _require(table: Table, columns: Sequence[str], kind: str) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise BenchError(
            f"{table.file} lacks the columns {', '.join(missing)}; a {kind} CSV of NegBench has "
            f"{', '.join(columns)}"
        )


def _extra(table: Table, known: Sequence[str]) -> list[Noted]:
    return [
        Noted(file=table.file, row=1, code="unknown_column", detail=column, skipped=False)
        for column in table.columns
        if column not in known
    ]


def read_choices(
    path: Path | str, *, images: Path | None = None, anchors: Path | None = None, seed: int = 0
) -> Pool:
    """Read NegBench's multiple choice; the places of the captions are shuffled by the seed.

    Args:
        path: the CSV.
        images: the folder that `image_path` starts from.
        anchors: NegBench's retrieval CSV of the same images: its lists of objects make text
            anchors ("A photo of a kitchen, a knife.") where there are no images.
        seed: of the places.

    Raises:
        BenchError: for a file of another layout, or when no row has an anchor.
    """
    table = read_table(path)
    _require(table, CHOICES, "multiple choice")
    said = _objects(read_table(anchors)) if anchors else {}
    rng = Random(f"negbench {seed}")  # noqa: S311
    items, noted = [], [*_extra(table, CHOICES), *table.noted]
    filed: Counter[str] = Counter()
    for record in table.records:
        try:
            item = _choice(table.file, record, images, said, rng)
        except (BenchError, PairError) as error:
            code = "no_anchor" if isinstance(error, PairError) else "choices"
            noted.append(Noted(file=table.file, row=record.row, code=code, detail=str(error)))
            continue
        items.append(item)
        filed[record.cells["correct_answer"].strip()] += 1
    if not items:
        raise BenchError(
            f"no usable row in {table.file}: {noted[-1].detail if noted else 'it is empty'}. "
            "Give the folder of the images (images), or NegBench's retrieval CSV (anchors)"
        )
    return Pool(items=tuple(items), noted=tuple(noted), filed=dict(filed))


def _choice(
    file: str, record: Record, images: Path | None, said: Mapping[str, str], rng: Random
) -> Item:
    cells = record.cells
    texts = [cells[column].strip() for column in CAPTIONS]
    answer = cells["correct_answer"].strip()
    if answer not in ("0", "1", "2", "3"):
        raise BenchError(f"correct_answer is {answer!r}; expected 0, 1, 2 or 3")
    if not all(texts):
        raise BenchError("a caption is blank")
    right = texts[int(answer)]
    rng.shuffle(texts)
    return Item(
        id=f"{file}:{record.row}",
        anchor=_anchor(cells["image_path"].strip(), images, said),
        texts=tuple(texts),
        answer=texts.index(right),
        group=cells["image_path"].strip(),
        tags={"template": (cells["correct_answer_template"].strip() or "none",)},
    )


def _anchor(named: str, images: Path | None, said: Mapping[str, str]) -> Anchor:
    if images is not None:
        anchor = Anchor(image=images / named)
        anchor.open_image()
        return anchor
    if named in said:
        return Anchor(text=said[named])
    raise PairError("no image and no text stands for the row's image")


def _objects(table: Table) -> dict[str, str]:
    """Return a text for each image that lists what is in it."""
    _require(table, RETRIEVAL, "retrieval")
    found = {}
    for record in table.records:
        objects = _listed(record.cells["positive_objects"])
        if objects:
            found[record.cells["filepath"].strip()] = f"A photo of {', '.join(objects)}."
    return found


def _listed(cell: str) -> list[str]:
    """Return the texts of a cell that holds a list; none where it holds anything else."""
    try:
        value = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    texts = isinstance(value, list) and all(isinstance(one, str) and one.strip() for one in value)
    return list(value) if texts else []


def read_gallery(path: Path | str, *, images: Path | None = None) -> tuple[Gallery, list[Noted]]:
    """Read NegBench's retrieval file: each image's first caption, which denies something.

    Without the images' folder an image is stood for by the list of what is in it. Images that
    list the same could not be told apart, so only the first of them is kept.

    Raises:
        BenchError: for a file of another layout, or with fewer than two usable rows.
    """
    table = read_table(path)
    _require(table, RETRIEVAL, "retrieval")
    said, noted = _objects(table), list(table.noted)
    found: dict[str, tuple[Anchor, str]] = {}
    for record in table.records:
        captions = _listed(record.cells["captions"])
        code, detail = ("", "") if captions else ("captions", "no list of captions")
        try:
            anchor = _anchor(record.cells["filepath"].strip(), images, said)
            if anchor.digest in found:
                code, detail = "same_anchor", "an earlier row has the same anchor"
        except PairError as error:
            code, detail = "no_anchor", str(error)
        if code:
            noted.append(Noted(file=table.file, row=record.row, code=code, detail=detail))
        else:
            found[anchor.digest] = (anchor, captions[0])
    if len(found) < 2:
        raise BenchError(f"{len(found)} usable rows in {table.file}; two or more make a gallery")
    anchors, texts = zip(*found.values(), strict=True)
    return Gallery(anchors=anchors, texts=texts), noted


def read_valse(path: Path | str, *, images: Path | None = None, seed: int = 0) -> Pool:
    """Read VALSE existence: a caption and its foil, which differ by a negator.

    Without the images only affirmative captions have a text to be anchored on, so that affirmation
    is always right; the pool says so by a note, and the prior shows what that is worth.

    Raises:
        PairError: for a file that is not VALSE existence.
        BenchError: when no image is there.
    """
    path = Path(path)
    with warnings.catch_warnings():
        # What is left out is told by notes.
        warnings.simplefilter("ignore", NegtraceWarning)
        pairs = valse_pairs(_present(path, images), rephrase=False, images=images)
    rng = Random(f"valse {seed}")  # noqa: S311
    items = []
    for pair in pairs:
        texts = [pair.true, pair.false]
        rng.shuffle(texts)
        items.append(
            Item(
                id=pair.id,
                anchor=pair.anchor,
                texts=tuple(texts),
                answer=texts.index(pair.true),
                group=pair.id,
                tags={"template": (pair.tags["provenance"],)},
            )
        )
    rows = json.loads(path.read_bytes())
    noted = [*_left_out(path, rows, {item.id for item in items}), *_one_sided(path, items)]
    return Pool(items=tuple(items), noted=tuple(noted), filed={"0": len(items)})


def _present(path: Path, images: Path | None) -> Path:
    """Return the file; with images, raise a BenchError that counts those that are not there."""
    if images is None:
        return path
    try:
        rows = json.loads(path.read_bytes())
        absent = [key for key, row in rows.items() if not (images / row["image_file"]).is_file()]
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return path  # The reader says what is wrong with it.
    if absent:
        raise BenchError(
            f"{len(absent)} of {len(rows)} images of {path.name} are missing, the first that of "
            f"{absent[0]}; complete the folder, or leave images out to use text anchors"
        )
    return path


def _left_out(path: Path, rows: Mapping[str, Any], kept: set[str]) -> list[Noted]:
    return [
        Noted(file=path.name, row=number, code="no_anchor_or_votes", detail=key)
        for number, key in enumerate(rows, start=1)
        if key not in kept
    ]


def _one_sided(path: Path, items: Sequence[Item]) -> list[Noted]:
    if len({item.tags["template"] for item in items}) != 1:
        return []
    told = "the right statement is of one polarity throughout; compare with the prior"
    return [Noted(file=path.name, row=0, code="one_sided", detail=told, skipped=False)]


def filed_place(filed: Mapping[str, int]) -> float:
    """Return what always choosing the most frequent place would score on the file as it stands."""
    return max(filed.values()) / sum(filed.values())


def results(encoder: Encoder, pool: Pool, bootstrap: Bootstrap, *, seed: int) -> list[Row]:
    """Return accuracy by kind of the right statement and balanced over kinds, and baselines."""
    rows = []
    for scorer, scores in (
        ("model", scoring.options(encoder, pool.items)),
        ("prior", scoring.options(encoder, pool.items, uninformed=True)),
        ("length", baselines.lengths(pool.items)),
        ("chance", baselines.guesses(pool.items, seed=seed)),
    ):
        right = correct(pool.items, scores)
        rows += by_tag(
            pool.items, right, bootstrap, scorer=scorer, series="questions", axes=("template",)
        )
        rows.append(_balanced(pool.items, right, bootstrap, scorer))
    place = filed_place(pool.filed)
    chance, n = baselines.chance(pool.items), len(pool.items)
    rows.append(
        Row(
            measure="accuracy",
            scorer="place as filed",
            series="questions",
            axis="all",
            level="all",
            estimate=place,
            low=place,
            high=place,
            n=n,
            chance=chance,
        )
    )
    return rows


def _balanced(items: Sequence[Item], right: np.ndarray, bootstrap: Bootstrap, scorer: str) -> Row:
    """Return the mean of the kinds' accuracies, each kind counting alike."""
    kinds = [item.tags["template"][0] for item in items]
    many = Counter(kinds)
    weights = np.array([len(items) / (len(many) * many[kind]) for kind in kinds])
    mean, low, high = bootstrap.mean(right * weights, [item.group for item in items])
    return Row(
        measure="accuracy",
        scorer=scorer,
        series="questions",
        axis="balanced",
        level="balanced",
        estimate=mean,
        low=low,
        high=high,
        n=len(items),
        chance=baselines.chance(items),
    )
