"""The builder of data sets: sources in, one record at a time; rows of each split out."""

__all__ = ["build_dataset"]

import gc
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from negtrace._messages import tally
from negtrace.datasets.card import Card
from negtrace.datasets.compose import ROW_KINDS, Composer
from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.folder import DatasetFolder, Progress
from negtrace.datasets.note import Note, image_note
from negtrace.datasets.pseudonyms import Pseudonyms, key_of
from negtrace.datasets.readers.base import Layout, layout_of
from negtrace.datasets.splits import SPLITS, Splits, stable_hash
from negtrace.datasets.study import Study
from negtrace.errors import DatasetError
from negtrace.version import __version__

EVERY = 20_000
"""Records between checkpoints."""

EXAMPLES = 20
"""Notes of each code whose source and row the card names."""

_ALLOCATIONS = 20_000
"""Objects that are made before Python looks for cycles; its default is 700."""

_encode = json.JSONEncoder(ensure_ascii=False).encode


class Source(NamedTuple):
    """A source and how it is read."""

    path: Path
    layout: Layout
    root: str
    """Folder that its image paths start from, relative to the folder of the data set."""


def build_dataset(
    sources: Path | str | Sequence[Path | str],
    out: Path | str,
    config: DatasetConfig | None = None,
    *,
    overwrite: bool = False,
) -> Card:
    """Build a contextual negation data set from one or several sources, in the folder `out`.

    For each split there are `claims-*.jsonl` (claim sets: a right statement, and wrong ones that
    each get one attribute of one claim wrong), `captions-*.jsonl` (captions that deny something)
    and `pairs-*.jsonl` (pairs as `read_pairs` reads them). `card.json` and `card.md` say what was
    made and what was left out.

    The sources are read once from top to bottom, in memory that does not grow with them. A run that
    was stopped goes on when it is started again, and ends in the same bytes.

    Args:
        sources: label files, structured claims, reports, or folders of reports.
        out: the folder to write.
        config: the settings; by default, `DatasetConfig()`.
        overwrite: start anew, and remove the data set that the folder holds.

    Raises:
        DatasetError: for sources or settings that cannot be used.
        UnknownNameError: for a layout that is not registered.
        OutputError: for a folder that cannot be written, holds something else (the differences are
            shown), holds progress that is damaged, or that another run is writing into.
    """
    config, out = config or DatasetConfig(), Path(out)
    paths = [sources] if isinstance(sources, str | Path) else sources
    plan = [_source(Path(path), config, out) for path in paths]
    if not plan or len({source.path.name for source in plan}) < len(plan):
        trouble = "two sources have one name" if plan else "no source"
        raise DatasetError(f"{trouble}; give label files, claims or reports of distinct names")
    names = [f"{kind}-{split}.jsonl" for kind in ROW_KINDS for split in SPLITS]
    _require_elsewhere(config.key_file, out)
    pseudonyms = Pseudonyms(key_of(config.key_file))
    identity = _identity(plan, config, pseudonyms)
    folder = DatasetFolder(out, names, identity, overwrite=overwrite)
    if card := folder.card():
        return card
    extra = [name.replace(".jsonl", ".parquet") for name in names] if config.parquet else []
    with folder:
        if not folder.progress.whole:
            _Builder(folder, config, pseudonyms).run(plan)
        return _finish(folder, extra)


def _source(path: Path, config: DatasetConfig, out: Path) -> Source:
    layout = layout_of(path, config)
    images = config.images or (path if path.is_dir() else path.parent)
    try:
        root = Path(os.path.relpath(images, out)).as_posix()
    except ValueError:  # On Windows, the two can be on different drives.
        root = images.absolute().as_posix()
    return Source(path, layout, root)


def _require_elsewhere(key_file: Path | None, out: Path) -> None:
    """Refuse a key beside the data that it protects."""
    if key_file is not None and key_file.resolve().is_relative_to(out.resolve()):
        raise DatasetError(
            "the key file is in the folder of the data set, so whoever gets the data gets the key; "
            "name a file elsewhere with key_file"
        )


def _identity(
    plan: Sequence[Source], config: DatasetConfig, pseudonyms: Pseudonyms
) -> dict[str, Any]:
    """Return all that the bytes of a data set depend on, without names of files."""
    roots = "\n".join(source.root for source in plan)
    settings = asdict(config) | {"images": pseudonyms.of("images", roots)}
    del settings["key_file"]
    return {
        "version": __version__,
        "config": settings,
        "key": pseudonyms.check,
        "sources": [
            {
                "source": number,
                "layout": layout.name,
                "digest": pseudonyms.of("source", f"{path.name} {_digest(path)}"),
            }
            for number, (path, layout, _) in enumerate(plan, 1)
        ],
    }


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and digests of a folder's text files."""
    if not path.is_dir():
        return f"sha256:{_sha256(path)}"
    digest = hashlib.sha256()
    texts = (file for ending in ("txt", "xml") for file in path.rglob(f"*.{ending}"))
    for file in sorted(texts):
        digest.update(f"{file.relative_to(path).as_posix()} {_sha256(file)}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(
            f"{path.name} cannot be read ({error.strerror}); give a file or a folder"
        ) from error


@contextmanager
def _cycles_sought_rarely() -> Iterator[None]:
    """Let Python look for cycles of objects less often: rows hold none, and looking takes time."""
    before = gc.get_threshold()
    if 0 < before[0] < _ALLOCATIONS:
        gc.set_threshold(_ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Builder:
    """Reads sources and writes the rows made of them."""

    def __init__(
        self, folder: DatasetFolder, config: DatasetConfig, pseudonyms: Pseudonyms
    ) -> None:
        self._folder = folder
        self._pseudonyms = pseudonyms
        self._progress = folder.progress
        self._config = config
        splits = Splits(seed=config.seed, val=config.val, test=config.test)
        self._composer = Composer(config, splits, pseudonyms)
        self._tallies = lru_cache(maxsize=1 << 12)(_tallies)
        self._shift = lru_cache(maxsize=64)(lambda *turn: stable_hash("answer", config.seed, *turn))

    def run(self, plan: Sequence[Source]) -> None:
        """Go through every record that earlier runs have not gone through."""
        with _cycles_sought_rarely():
            self._run(plan)

    def _run(self, plan: Sequence[Source]) -> None:
        done = self._progress.done
        self._source = 1
        records = islice(self._records(plan), done, None)
        for root, item in tqdm(records, desc="records", initial=done, disable=None):
            if isinstance(item, Note):
                self._count(item)
            else:
                self._take(item, root, done)
            done += 1
            if done % EVERY == 0:
                self._folder.checkpoint(done)
        self._folder.checkpoint(done, whole=True)

    def _records(self, plan: Sequence[Source]) -> Iterator[tuple[str, Study | Note]]:
        for self._source, source in enumerate(plan, 1):
            for item in source.layout.read(source.path, self._config):
                yield source.root, item

    def _count(self, note: Note) -> None:
        counts, group = self._progress.counts, "skipped" if note.skipped else "noted"
        counts[f"records/{group}/{note.code}"] += 1
        counts["records/read"] += note.skipped
        rows = self._progress.examples.setdefault(note.code, [])
        if len(rows) < EXAMPLES:
            # A file in a folder may be named after a patient.
            named = "/" in note.file
            place = self._pseudonyms.of("study", f"{note.file}:{note.row}") if named else note.row
            rows.append([self._source, place])

    def _take(self, study: Study, root: str, number: int) -> None:
        """Write the rows of a study, or count a note on why there are none."""
        if note := self._unusable(study, root, number):
            self._count(note)
            return
        try:
            lines, tallies = self._lines(study, root)
        except UnicodeEncodeError:
            self._count(_note(study, "mojibake", "half a character"))
            return
        counts = self._progress.counts
        for reason in ("uncertain", "contradicted", "unknown"):
            if findings := getattr(study, reason):
                counts[f"findings/{reason}"] += findings
        counts.update(tallies)
        if not lines:
            self._count(_note(study, "nothing_to_say", "no certain claim"))
            return
        for name, line in lines:
            self._folder.write(name, line)
        counts["records/read"] += 1
        counts["records/used"] += 1

    def _lines(self, study: Study, root: str) -> tuple[list[tuple[str, bytes]], list[str]]:
        """Return the lines of a study with their files, and the names the card counts them by."""
        split = self._composer.split_of(study)
        lines: list[tuple[str, bytes]] = []
        tallies: list[str] = []
        for kind, row, tags in self._composer.lines(study, split, root):
            if row is None:
                tallies += [f"{kind}/{split}/{tag}" for tag in tags]
                continue
            if kind == "claims":
                row["answer"] = self._answer(split, 1 + len(row["wrong"]), tallies)
                tags = (*tags, f"answer/{row['answer']}")
            lines.append((f"{kind}-{split}.jsonl", (_encode(row) + "\n").encode()))
            tallies += self._tallies(f"{kind}/{split}", study.source, tags)
        return lines, tallies

    def _answer(self, split: str, options: int, pending: Sequence[str]) -> int:
        """Return the position of the right statement.

        Each position occurs once in `options` sets. A hash shifts the order from turn to turn.
        """
        key = f"claims/{split}/options/{options}"
        earlier = self._progress.counts[key] + pending.count(key)
        turn, position = divmod(earlier, options)
        return (position + self._shift(split, options, turn)) % options

    def _unusable(self, study: Study, root: str, number: int) -> Note | None:
        """Return a note if the study cannot be used; count a note on its image."""
        if self._config.anchors == "image":
            if not (study.image or study.text):
                return _note(study, "no_anchor", "neither image nor text")
            if self._config.check_images and study.image:
                image = self._folder.out / root / study.image
                note = image_note(image, file=study.file, row=study.row)
                if note and note.skipped:
                    return note
                if note:
                    self._count(note)
        # Checked last, so that the first readable image of a study is taken.
        names = (study.source, study.patient, study.key)
        view = study.image if study.image and study.image != study.key else None
        new = self._folder.is_new(number, *names)
        if view and self._folder.is_new(number, *names, view) and not new:
            return _note(study, "further_view", "another view of a study that occurs before")
        return None if new else _note(study, "duplicate_study", "the study occurs before")


def _tallies(group: str, source: str, tags: Sequence[str]) -> tuple[str, ...]:
    """Return the names that the card counts a row by."""
    return (group, f"{group}/source/{source}", *(f"{group}/{tag}" for tag in tags))


def _note(study: Study, code: str, detail: str) -> Note:
    return Note(file=study.file, row=study.row, code=code, detail=detail)


def _require_rows(progress: Progress) -> None:
    """Refuse a data set without rows, and say why the records were left out."""
    counts = progress.counts
    if any(counts[f"{kind}/{split}"] for kind in ROW_KINDS for split in SPLITS):
        return
    start = "records/skipped/"
    reasons = {key.removeprefix(start): n for key, n in counts.items() if key.startswith(start)}
    raise DatasetError(
        f"no row can be made of {counts['records/read']} records; left out: "
        f"{tally(reasons) or 'none'}. Give sources with certain claims, or another layout"
    )


def _finish(folder: DatasetFolder, extra: Sequence[str]) -> Card:
    """Put the files in their place, and return the card.

    Raises:
        DatasetError: when there is no row at all.
    """
    _require_rows(folder.progress)
    if extra:
        from negtrace.datasets.parquet import write_parquet

        for name in extra:
            source = folder.current(name.replace(".parquet", ".jsonl"))
            write_parquet(source, folder.partial / name)
    progress = folder.progress
    # Of the bytes that were written: the files are not read again.
    files = {
        name: {"bytes": progress.sizes[name], "digest": f"sha256:{progress.digests[name]}"}
        for name in folder.names
    }
    for name in extra:
        path = folder.current(name)
        files[name] = {"bytes": path.stat().st_size, "digest": _digest(path)}
    card = Card(
        identity=folder.identity,
        counts=progress.counts,
        examples=progress.examples,
        files=files,
    )
    folder.publish(extra, card.as_json(), card.as_text())
    return card
