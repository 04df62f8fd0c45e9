"""The suites: items made of what is asked for, put to a model, and counted."""

__all__ = ["SUITES", "Suite"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from negtrace._registry import Registry
from negtrace.bench import claims, collapse, negbench, polarity, retrieval
from negtrace.bench import multiple_choice as pools
from negtrace.bench.cases import Cases, PhantomSupply, Supply, TextSupply
from negtrace.bench.chexpert import read_cases
from negtrace.bench.config import BenchConfig
from negtrace.bench.context import fitting
from negtrace.bench.rates import Bootstrap
from negtrace.bench.result import Work, about, about_items, items_told
from negtrace.bench.scorers import answers
from negtrace.bench.tables import read_table
from negtrace.bench.valse import read_valse
from negtrace.datasets.claim_sets import read_claim_sets
from negtrace.datasets.note import Note
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError

Suite = Callable[[Encoder, BenchConfig], Work]

SUITES: Registry[Suite] = Registry("suite")

GALLERY = 300
"""Most statements to choose from in retrieval, as chance depends on how many there are."""


def _bootstrap(config: BenchConfig) -> Bootstrap:
    return Bootstrap(resamples=config.resamples, confidence=config.confidence, seed=config.seed)


def _place(encoder: Encoder, config: BenchConfig) -> str:
    """Return where the anchors come from: `phantom`, `text`, or a path."""
    place = str(config.data) if config.data else ("phantom" if encoder.reads_images else "text")
    if place == "phantom":
        _require_images(encoder)
    return place


def _require_images(encoder: Encoder) -> None:
    """Raise a BenchError for an encoder that sees no images."""
    if not encoder.reads_images:
        raise BenchError(f"{encoder.name} sees no images; use data 'text', whose anchors are texts")


@SUITES.register("polarity")
def _polarity(encoder: Encoder, config: BenchConfig) -> Work:
    """Four statements on three findings, in two wordings."""
    place = _place(encoder, config)
    supply, noted = _supply(encoder, place, config)
    asked, long = polarity.fitting(
        encoder, polarity.questions(supply, config.count, seed=config.seed)
    )
    items = {series: polarity.items_of(asked, w) for series, w in polarity.WORDINGS.items()}
    right = {series: answers(encoder, own, seed=config.seed) for series, own in items.items()}
    models = {series: scorers["model"] for series, scorers in right.items()}
    return Work(
        rows=tuple(polarity.results(asked, right, _bootstrap(config))),
        noted=(*noted, *long),
        data=about_items(Path(place).name, items["negated"]),
        items=items_told(items["negated"], models, include_text=config.include_text),
    )


def _supply(encoder: Encoder, place: str, config: BenchConfig) -> tuple[Supply, tuple[Note, ...]]:
    if place == "phantom":
        return PhantomSupply(), ()
    if place == "text":
        return TextSupply(), ()
    _require_images(encoder)
    cohort = read_cases(place, config.images, limit=config.limit, seed=config.seed)
    return Cases(cohort.cases), cohort.noted


@SUITES.register("claims")
def _claims(encoder: Encoder, config: BenchConfig) -> Work:
    """One right claim and several wrong in one attribute."""
    place = _place(encoder, config)
    noted: list[Note] = []
    if place == "phantom":
        sets = claims.phantom_test_sets(config.count, seed=config.seed)
    elif place == "text":
        sets = claims.text_test_sets(config.count, seed=config.seed)
    else:
        sets, noted = read_claim_sets(place)
        sets = sets[: config.count]
        if any(one.anchor.text is None for one in sets):
            _require_images(encoder)
    items, long = fitting(encoder, claims.items_of(sets, seed=config.seed))
    right = answers(encoder, items, seed=config.seed)
    return Work(
        rows=tuple(claims.results(items, right, _bootstrap(config))),
        noted=(*noted, *long),
        data=about_items(Path(place).name, items),
        items=items_told(items, {"model": right["model"]}, include_text=config.include_text),
    )


@SUITES.register("retrieval")
def _retrieval(encoder: Encoder, config: BenchConfig) -> Work:
    """Each anchor's own statement among those of others, and the other way round."""
    place = _place(encoder, config)
    count = min(config.count, GALLERY)
    if place == "phantom":
        galleries = retrieval.phantom_galleries(count, seed=config.seed)
    elif place == "text":
        galleries = retrieval.text_galleries(count, seed=config.seed)
    else:
        return _found_in(encoder, Path(place), config)
    return _found(encoder, Path(place).name, galleries, (), config)


def _found_in(encoder: Encoder, path: Path, config: BenchConfig) -> Work:
    """Return what is found in NegBench's retrieval file."""
    if config.images is not None:
        _require_images(encoder)
    gallery, noted = negbench.read_gallery(path, images=config.images)
    some = gallery.rows(range(min(config.count, len(gallery.texts))))
    return _found(encoder, path.name, {"with negation": some}, noted, config)


def _found(
    encoder: Encoder,
    name: str,
    galleries: Mapping[str, retrieval.Gallery],
    noted: Sequence[Note],
    config: BenchConfig,
) -> Work:
    fit, long = retrieval.fitting(encoder, galleries)
    anchors = [anchor for gallery in fit.values() for anchor in gallery.anchors]
    asked = {s: [list(g.texts), [a.digest for a in g.anchors]] for s, g in fit.items()}
    return Work(
        rows=tuple(retrieval.results(encoder, fit, _bootstrap(config))),
        noted=(*noted, *long),
        data=about(name, anchors, asked, max(len(g.texts) for g in fit.values())),
    )


@SUITES.register("collapse")
def _collapse(encoder: Encoder, config: BenchConfig) -> Work:
    """Similarity of a statement and its negation beside that of a paraphrase."""
    noted: list[Note] = []
    if config.data in (None, "text", "phantom"):
        triples, name = collapse.radiology_triples(), "radiology"
    else:
        triples, noted = collapse.read_triples(str(config.data))
        name = Path(str(config.data)).name
    triples, long = collapse.fitting(encoder, triples[: config.count])
    asked = [{k: v for k, v in asdict(t).items() if k != "source"} for t in triples]
    return Work(
        rows=tuple(collapse.results(encoder, triples, _bootstrap(config))),
        noted=(*noted, *long),
        data=about(name, (), asked, len(triples)),
    )


@SUITES.register("negbench")
def _negbench(encoder: Encoder, config: BenchConfig) -> Work:
    """NegBench's multiple choice or retrieval CSV, or VALSE existence."""
    if config.data is None:
        raise BenchError("the suite 'negbench' reads a file; give NegBench's CSV or VALSE's JSON")
    path = Path(config.data)
    if config.images is not None:
        _require_images(encoder)
    if path.suffix == ".json":
        pool = read_valse(path, images=config.images, seed=config.seed)
    elif "captions" in read_table(path).columns:
        return _found_in(encoder, path, config)
    else:
        pool = negbench.read_choices(
            path, images=config.images, anchors=config.anchors, seed=config.seed
        )
    items, long = fitting(encoder, pool.items[: config.count])
    right = answers(encoder, items, seed=config.seed)
    kept = pools.Pool(items=tuple(items), noted=(*pool.noted, *long), filed=pool.filed)
    return Work(
        rows=tuple(pools.results(kept, right, _bootstrap(config))),
        noted=kept.noted,
        data=about_items(path.name, items),
        items=items_told(items, {"model": right["model"]}, include_text=config.include_text),
    )
