"""Data sets, built from sources a record at a time."""

__all__ = ["build_dataset"]

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from negtrace.datasets.card import Card
from negtrace.datasets.compose import KINDS, Composer
from negtrace.datasets.config import Config
from negtrace.datasets.folder import Folder
from negtrace.datasets.note import Note, image_note
from negtrace.datasets.readers.label_files import chexpert, nih
from negtrace.datasets.readers.layouts import layout_of
from negtrace.datasets.readers.records import cad_chest, claims
from negtrace.datasets.readers.reports import reports
from negtrace.datasets.splits import SPLITS, Splits, draw
from negtrace.datasets.study import Study
from negtrace.errors import DatasetError
from negtrace.version import __version__

EVERY = 20_000
"""Records between checkpoints."""

EXAMPLES = 20
"""Remarks of each code whose file and row the card names."""

READERS: Mapping[str, Callable[[Path, Config], Iterator[Study | Note]]] = {
    "claims": claims,
    "cad-chest": cad_chest,
    "chexpert": chexpert,
    "nih": nih,
    "reports": reports,
}

_encode = json.JSONEncoder(ensure_ascii=False).encode


def build_dataset(
    sources: Path | str | Sequence[Path | str], out: Path | str, config: Config | None = None
) -> Card:
    """Build the contextual negation data set from one source or several, into the folder `out`.

    There, `claims-train.jsonl` and its kin hold claim sets (one right statement, several that are
    wrong by one attribute of one claim), `captions-*.jsonl` single negated captions, and
    `pairs-*.jsonl` pairs that `read_pairs` reads; `card.json` and `card.md` say what was made and
    what was left out.

    The sources are read once from top to bottom, in memory that does not grow with them. A run that
    was stopped goes on where it was when it is started again, and ends in the same bytes.

    Raises:
        DatasetError: for sources or settings that cannot be used.
        OutputError: for a folder that cannot be written or holds something else.
    """
    config, out = config or Config(), Path(out)
    given = [sources] if isinstance(sources, str | Path) else list(sources)
    plan = [(Path(one), layout_of(Path(one), config)) for one in given]
    if not plan or len({path.name for path, _ in plan}) < len(plan):
        trouble = "two sources have one name" if plan else "no source"
        raise DatasetError(f"{trouble}; give label files, claims or reports of distinct names")
    names = [f"{kind}-{split}.jsonl" for kind in KINDS for split in SPLITS]
    folder = Folder(out, names, _identity(plan, config, out))
    if found := folder.card():
        return Card(**found)
    extra = [name.replace(".jsonl", ".parquet") for name in names] if config.parquet else []
    with folder:
        if not folder.progress.whole:
            _Builder(folder, config).run(plan)
        return _finish(folder, extra)


def _identity(plan: Sequence[tuple[Path, str]], config: Config, out: Path) -> dict[str, Any]:
    roots = "\n".join(_root(path, config, out) for path, _ in plan)
    # The card tells the places of images apart and does not name them.
    settings = asdict(config) | {"images": hashlib.sha256(roots.encode()).hexdigest()[:12]}
    return {
        "version": __version__,
        "config": settings,
        "sources": [
            {"file": path.name, "layout": layout, "digest": _digest(path)} for path, layout in plan
        ],
    }


def _digest(path: Path) -> str:
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    whole = hashlib.sha256()
    for one in files:
        try:
            with one.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            told = f"{one.name} cannot be read ({error.strerror}); give a file or a folder"
            raise DatasetError(told) from error
        if not path.is_dir():
            return f"sha256:{found}"
        whole.update(f"{one.relative_to(path).as_posix()} {found}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _root(path: Path, config: Config, out: Path) -> str:
    """Return the folder that a source's image paths start from, seen from the data set's."""
    folder = config.images or (path if path.is_dir() else path.parent)
    try:
        return Path(os.path.relpath(folder, out)).as_posix()
    except ValueError:  # Another drive on Windows.
        return folder.absolute().as_posix()


class _Builder:
    """Reads sources and writes what is made of them."""

    def __init__(self, folder: Folder, config: Config) -> None:
        self._folder = folder
        self._progress = folder.progress
        self._config = config
        self._splits = Splits(seed=config.seed, val=config.val, test=config.test)
        self._composer = Composer(config, self._splits)
        self._shift = lru_cache(maxsize=64)(lambda *turn: draw("answer", config.seed, *turn))

    def run(self, plan: Sequence[tuple[Path, str]]) -> None:
        """Deal with every record that was not dealt with before."""
        done = self._progress.done
        records = islice(self._items(plan), done, None)
        for root, item in tqdm(records, desc="records", initial=done, disable=None):
            if isinstance(item, Note):
                self._note(item)
            else:
                self._take(item, root, done)
            done += 1
            if done % EVERY == 0:
                self._folder.checkpoint(done)
        self._folder.checkpoint(done, whole=True)

    def _items(self, plan: Sequence[tuple[Path, str]]) -> Iterator[tuple[str, Study | Note]]:
        for path, layout in plan:
            root = _root(path, self._config, self._folder.out)
            for item in READERS[layout](path, self._config):
                yield root, item

    def _note(self, remark: Note) -> None:
        counts, group = self._progress.counts, "skipped" if remark.skipped else "noted"
        counts[f"records/{group}/{remark.code}"] += 1
        counts["records/read"] += remark.skipped
        rows = self._progress.examples.setdefault(remark.code, [])
        if len(rows) < EXAMPLES:
            rows.append([remark.file, remark.row])

    def _take(self, study: Study, root: str, number: int) -> None:
        """Write what can be made of a study, or note why nothing can."""
        if remark := self._unusable(study, root, number):
            self._note(remark)
            return
        try:
            made, tallies = self._made(study, root)
        except UnicodeEncodeError:
            self._note(_remark(study, "mojibake", "half a character"))
            return
        counts = self._progress.counts
        for what in ("uncertain", "contradicted", "unknown"):
            if left := getattr(study, what):
                counts[f"findings/{what}"] += left
        if not made:
            self._note(_remark(study, "nothing_to_say", "no certain claim"))
            return
        for name, line in made:
            self._folder.write(name, line)
        counts.update(tallies)
        counts["records/read"] += 1
        counts["records/used"] += 1

    def _made(self, study: Study, root: str) -> tuple[list[tuple[str, bytes]], list[str]]:
        """Return a study's lines, each with its file, and what the card counts them by."""
        split = self._composer.split_of(study)
        made: list[tuple[str, bytes]] = []
        tallies: list[str] = []
        for kind, row, tags in self._composer.lines(study, split, root):
            if kind == "claims":
                row["answer"] = self._answer(split, 1 + len(row["wrong"]), tallies)
                tags = (*tags, f"answer/{row['answer']}")
            made.append((f"{kind}-{split}.jsonl", (_encode(row) + "\n").encode()))
            here = f"{kind}/{split}"
            tallies += [here, f"{here}/source/{study.source}", *(f"{here}/{t}" for t in tags)]
        return made, tallies

    def _answer(self, split: str, options: int, pending: Sequence[str]) -> int:
        """Return where the right statement is to stand: every place once in so many sets."""
        key = f"claims/{split}/options/{options}"
        earlier = self._progress.counts[key] + pending.count(key)
        turn, place = divmod(earlier, options)
        return (place + self._shift(split, options, turn)) % options

    def _unusable(self, study: Study, root: str, number: int) -> Note | None:
        if self._config.anchors == "image":
            if not (study.image or study.text):
                return _remark(study, "no_anchor", "neither image nor text")
            if self._config.check_images and study.image:
                image = self._folder.out / root / study.image
                note = image_note(image, file=study.file, row=study.row)
                if note and note.skipped:
                    return note
                if note:
                    self._note(note)
        # Last, so that of a study with several images the first one that can be read is taken.
        if not self._folder.is_new(number, study.source, study.patient, study.key):
            return _remark(study, "duplicate_study", "the study occurs before")
        return None


def _remark(study: Study, code: str, detail: str) -> Note:
    return Note(file=study.file, row=study.row, code=code, detail=detail)


def _finish(folder: Folder, extra: Sequence[str]) -> Card:
    if extra:
        from negtrace.datasets.parquet import write_parquet

        for name in extra:
            source = folder.whole(name.replace(".parquet", ".jsonl"))
            write_parquet(source, folder.partial / name)
    files = {}
    for name in (*folder.names, *extra):
        path = folder.whole(name)
        files[name] = {"bytes": path.stat().st_size, "digest": _digest(path)}
    progress = folder.progress
    card = Card(
        identity=folder.identity,
        counts=progress.counts,
        examples=progress.examples,
        files=files,
    )
    folder.publish(extra, card.as_json(), card.as_text())
    return card
