"""A suite run on models: items made, put, counted, written and drawn."""

__all__ = ["SUITES", "Suite", "Work", "run"]

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from negtrace.bench import claims, collapse, negbench, polarity, retrieval
from negtrace.bench.chexpert import read_cases
from negtrace.bench.config import Config
from negtrace.bench.items import Item, fitting
from negtrace.bench.rates import Bootstrap, correct
from negtrace.bench.report import Noted, Report, Row, write_report
from negtrace.bench.scoring import options
from negtrace.bench.supply import Cases, PhantomSupply, Supply, TextSupply
from negtrace.bench.tables import read_table
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError
from negtrace.registry import Registry
from negtrace.schema.files import canonical, require_writable, sha256
from negtrace.version import __version__


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a suite found."""

    rows: tuple[Row, ...]
    noted: tuple[Noted, ...] = ()
    data: Mapping[str, Any]
    """Name of the data, kind of its anchors, digest, and number of items."""
    items: tuple[Mapping[str, Any], ...] = ()


Suite = Callable[[Encoder, Config], Work]

SUITES: Registry[Suite] = Registry("suite")


def run(
    encoders: Encoder | Sequence[Encoder],
    config: Config | None = None,
    *,
    out: Path | str | None = None,
    formats: Sequence[str] = ("png",),
) -> list[Report]:
    """Run a suite on one model or several.

    Args:
        encoders: what to measure.
        config: the settings; polarity questions on the phantom when not given.
        out: folder for `<suite>-<model>.json`, each written as soon as it is there, and one
            figure of all models, `<suite>.<format>`; nothing is written when not given.
        formats: of the figure: png, svg, pdf.

    Raises:
        UnknownNameError: for a suite that is not registered.
        BenchError: for data that cannot be used; nothing has been written for that model.
        OutputError: when `out` cannot be written; nothing has been measured then.
    """
    config = config or Config()
    suite = SUITES[config.suite]
    if out is not None:
        require_writable(Path(out))
    given = [encoders] if isinstance(encoders, Encoder) else list(encoders)
    names = _names([encoder.name for encoder in given])
    reports = []
    for encoder, name in zip(given, names, strict=True):
        report = _report(encoder, config, suite(encoder, config))
        reports.append(report)
        if out is not None:
            path = Path(out) / f"{config.suite}-{name}.json"
            write_report(report, path, include_text=config.include_text)
    if out is not None:
        # Imported here, so that a run that draws nothing needs no matplotlib.
        from negtrace.bench.figures import draw

        draw(reports, Path(out) / config.suite, formats)
    return reports


def _names(names: Sequence[str]) -> list[str]:
    """Return a file name for each model, distinct also where models are called alike."""
    safe = ["".join(c if c.isalnum() or c in "-_." else "-" for c in name) for name in names]
    return [name if safe.count(name) == 1 else f"{name}-{k}" for k, name in enumerate(safe, 1)]


def _report(encoder: Encoder, config: Config, work: Work) -> Report:
    settings = asdict(config)
    for name in ("data", "images", "anchors"):
        if settings[name] is not None:
            settings[name] = Path(settings[name]).name
    return Report(
        suite=config.suite,
        model={
            "name": encoder.name,
            "family": encoder.family,
            "revision": encoder.revision,
            "weights_digest": encoder.digest,
            "tokenizer": encoder.tokenizer_name,
            "unit": encoder.unit,
        },
        data=work.data,
        config=settings,
        rows=work.rows,
        noted=work.noted,
        items=work.items,
        made={
            "package_version": __version__,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )


def bootstrap_of(config: Config) -> Bootstrap:
    """Return how intervals are made."""
    return Bootstrap(resamples=config.resamples, confidence=config.confidence, seed=config.seed)


def place_of(encoder: Encoder, config: Config) -> str:
    """Return where the anchors come from: `phantom`, `text`, or a path.

    Raises:
        BenchError: for radiographs and an encoder that sees none.
    """
    place = str(config.data) if config.data else ("phantom" if encoder.reads_images else "text")
    if place == "phantom":
        require_images(encoder)
    return place


def require_images(encoder: Encoder) -> None:
    """Raise a BenchError for an encoder that sees no images."""
    if not encoder.reads_images:
        raise BenchError(f"{encoder.name} sees no images; use data 'text', whose anchors are texts")


def told(items: Sequence[Item], config: Config, right: Sequence[float]) -> list[dict[str, Any]]:
    """Return each item for a report, its statements only if they are to be included."""
    return [
        {
            "id": item.id,
            "answer": item.answer,
            "right": {"model": bool(won)},
            **({"texts": {"options": list(item.texts)}} if config.include_text else {}),
        }
        for item, won in zip(items, right, strict=True)
    ]


def digest_of(items: Sequence[Item]) -> str:
    """Return the digest of everything that was asked: anchors, statements and answers."""
    return sha256(canonical([[i.id, i.anchor.digest, list(i.texts), i.answer] for i in items]))


def about(name: str, items: Sequence[Item]) -> dict[str, Any]:
    """Return what a report says of its data."""
    kinds = {"text" if item.anchor.text is not None else "image" for item in items}
    return {
        "name": name,
        "anchors": " and ".join(sorted(kinds)),
        "digest": digest_of(items),
        "items": len(items),
    }


@SUITES.register("polarity")
def _polarity(encoder: Encoder, config: Config) -> Work:
    """Four statements on three findings, in two wordings."""
    place = place_of(encoder, config)
    supply, noted = _supply(encoder, place, config)
    asked = polarity.questions(supply, config.count, seed=config.seed)
    negated = polarity.items_of(asked, "negated")
    rows = polarity.results(encoder, asked, bootstrap_of(config), seed=config.seed)
    right = correct(negated, options(encoder, negated))
    return Work(
        rows=tuple(rows),
        noted=noted,
        data=about(Path(place).name, negated),
        items=tuple(told(negated, config, right.tolist())),
    )


def _supply(encoder: Encoder, place: str, config: Config) -> tuple[Supply, tuple[Noted, ...]]:
    if place == "phantom":
        return PhantomSupply(), ()
    if place == "text":
        return TextSupply(), ()
    require_images(encoder)
    cohort = read_cases(place, config.images, limit=config.limit, seed=config.seed)
    return Cases(cohort.cases), cohort.noted


@SUITES.register("claims")
def _claims(encoder: Encoder, config: Config) -> Work:
    """One right claim and several wrong in one attribute."""
    place = place_of(encoder, config)
    noted: list[Noted] = []
    if place == "phantom":
        sets = claims.phantom_sets(config.count, seed=config.seed)
    elif place == "text":
        sets = claims.text_sets(config.count, seed=config.seed)
    else:
        sets, noted = claims.read_sets(place)
        sets = sets[: config.count]
        if any(one.anchor.text is None for one in sets):
            require_images(encoder)
    items, long = fitting(encoder, claims.items_of(sets, seed=config.seed))
    rows = claims.results(encoder, items, bootstrap_of(config), seed=config.seed)
    right = correct(items, options(encoder, items))
    return Work(
        rows=tuple(rows),
        noted=(*noted, *long),
        data=about(Path(place).name, items),
        items=tuple(told(items, config, right.tolist())),
    )


GALLERY = 300
"""Most statements to choose from in retrieval, as chance depends on how many there are."""


@SUITES.register("retrieval")
def _retrieval(encoder: Encoder, config: Config) -> Work:
    """Each anchor's own statement among those of others, and the other way round."""
    place = place_of(encoder, config)
    noted: list[Noted] = []
    count = min(config.count, GALLERY)
    if place == "phantom":
        galleries = retrieval.phantom_galleries(count, seed=config.seed)
    elif place == "text":
        galleries = retrieval.text_galleries(count, seed=config.seed)
    else:
        gallery, noted = _gallery(encoder, Path(place), config)
        galleries = {"with negation": gallery}
    return _found(encoder, Path(place).name, galleries, noted, config)


def _gallery(
    encoder: Encoder, place: Path, config: Config
) -> tuple[retrieval.Gallery, list[Noted]]:
    if config.images is not None:
        require_images(encoder)
    gallery, noted = negbench.read_gallery(place, images=config.images)
    count = config.count
    return retrieval.Gallery(anchors=gallery.anchors[:count], texts=gallery.texts[:count]), noted


def _found(
    encoder: Encoder,
    name: str,
    galleries: Mapping[str, retrieval.Gallery],
    noted: Sequence[Noted],
    config: Config,
) -> Work:
    anchors = [anchor for gallery in galleries.values() for anchor in gallery.anchors]
    kinds = {"text" if anchor.text is not None else "image" for anchor in anchors}
    asked = {s: [list(g.texts), [a.digest for a in g.anchors]] for s, g in galleries.items()}
    return Work(
        rows=tuple(retrieval.results(encoder, galleries, bootstrap_of(config))),
        noted=tuple(noted),
        data={
            "name": name,
            "anchors": " and ".join(sorted(kinds)),
            "digest": sha256(canonical(asked)),
            "items": max(len(g.texts) for g in galleries.values()),
        },
    )


@SUITES.register("collapse")
def _collapse(encoder: Encoder, config: Config) -> Work:
    """Similarity of a statement and its negation beside that of a paraphrase."""
    noted: list[Noted] = []
    if config.data in (None, "text", "phantom"):
        triples, name = collapse.radiology_triples(), "radiology"
    else:
        triples, noted = collapse.read_triples(str(config.data))
        name = Path(str(config.data)).name
    triples = triples[: config.count]
    return Work(
        rows=tuple(collapse.results(encoder, triples, bootstrap_of(config))),
        noted=tuple(noted),
        data={
            "name": name,
            "anchors": "none",
            "digest": sha256(canonical([asdict(triple) for triple in triples])),
            "items": len(triples),
        },
    )


@SUITES.register("negbench")
def _negbench(encoder: Encoder, config: Config) -> Work:
    """NegBench's multiple choice or retrieval CSV, or VALSE existence."""
    if config.data is None:
        raise BenchError("the suite 'negbench' reads a file; give NegBench's CSV or VALSE's JSON")
    path = Path(config.data)
    if config.images is not None:
        require_images(encoder)
    if path.suffix == ".json":
        pool = negbench.read_valse(path, images=config.images, seed=config.seed)
    elif "captions" in read_table(path).columns:
        gallery, noted = _gallery(encoder, path, config)
        return _found(encoder, path.name, {"with negation": gallery}, noted, config)
    else:
        pool = negbench.read_choices(
            path, images=config.images, anchors=config.anchors, seed=config.seed
        )
    items, long = fitting(encoder, pool.items[: config.count])
    pool = negbench.Pool(items=tuple(items), noted=(*pool.noted, *long), filed=pool.filed)
    rows = negbench.results(encoder, pool, bootstrap_of(config), seed=config.seed)
    right = correct(items, options(encoder, items))
    return Work(
        rows=tuple(rows),
        noted=pool.noted,
        data=about(path.name, items),
        items=tuple(told(items, config, right.tolist())),
    )
