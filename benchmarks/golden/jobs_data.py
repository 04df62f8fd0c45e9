"""Jobs on language and data: pairs, data sets, cues, decisions, and input that is refused."""

import csv
import re
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import inputs
import numpy as np
from inputs import PUBLIC, REPORTS, VALSE
from recorder import Recorder
from stored_form import INPUTS

import negtrace
from negtrace.language import VOCABULARY

NEGEX = f"{PUBLIC}/negex/annotations_part.tsv"
ROCO = f"{PUBLIC}/roco/captions_ccby_part.tsv"


def pairs(recorder: Recorder) -> None:
    """Pairs of every source."""
    recorder.run("radiology", "pairs radiology --out radiology.jsonl")
    recorder.run("phantom", "pairs phantom --n 40 --out phantom.jsonl")
    recorder.run("valse", f"pairs valse --file {VALSE} --out valse.jsonl")
    recorder.run("models", "models")
    pictures = {p.name: np.frombuffer(p.read_bytes(), np.uint8) for p in Path().rglob("*.png")}
    recorder.arrays("pictures", pictures)


def dataset(recorder: Recorder) -> None:
    """Data sets from every layout."""
    labels, nih = inputs.chexpert("chexpert.csv", 120), f"{PUBLIC}/nih_cxr14_starter/labels.csv"
    claims, reports = inputs.claims("claims.jsonl", 120), inputs.reports("reports.jsonl", 60)
    for index, text in enumerate(REPORTS):
        inputs.text_file(f"texts/p10/p1000003{index}/s{index}.txt", text)
    for label, options in {
        "chexpert": f"{labels} --per-study 0",
        "chexpert-text": f"{labels} --anchors text --parquet --seed 2",
        "mimic": f"{inputs.mimic('mimic.csv', 80)} --per-study 2 --images {INPUTS}/files",
        "nih": f"{nih} --val 0.2 --test 0.2 --parquet",
        "nih-films": f"{inputs.radiographs(60)} --check-images --anchors image",
        "cad-chest": f"{inputs.cad_chest('cad.json', 100)} --per-study 0",
        "claims": f"{claims} --per-study 0 --parquet",
        "reports": f"{reports} --per-study 0",
        "texts": f"{INPUTS}/texts --per-study 0",
        "roco": f"{ROCO} --column caption --patient roco_id --per-study 2",
        "negex": f"{NEGEX} --column Sentence --seed 1",
        "several": f"{labels} {claims} {reports} --seed 5 --val 0.3",
    }.items():
        recorder.run(label, f"dataset {options} --out {label}")


def cues(recorder: Recorder) -> None:
    """Cues of real texts, by the command."""
    for label, options in {
        "negex": f"{NEGEX} --column Sentence",
        "roco": f"{ROCO} --column caption",
        "choices": f"{PUBLIC}/negbench/coco_mcq_part.csv --column caption_0",
        "gallery": f"{PUBLIC}/negbench/coco_retrieval_negated_part.csv --column captions",
        "triggers": f"{PUBLIC}/negex/negex_triggers.txt",
    }.items():
        recorder.run(label, f"cues {options}")
        recorder.run(f"{label}-text", f"cues {options} --include-text")
    recorder.run("reports", f"cues {inputs.reports('reports.jsonl', 20)} --column report")


def decisions(recorder: Recorder) -> None:
    """Cues and decisions about negation in Python, and counterfactuals of many claims."""
    annotated = [(row["Concept"], row["Sentence"]) for row in _rows(NEGEX)]
    captions = [row["caption"] for row in _rows(ROCO)]
    decided = [
        [[*span, negtrace.is_negated(text, *span)] for span in _concept_spans(concept, text)]
        for concept, text in annotated
    ]
    recorder.value("decided", {str(index): spans for index, spans in enumerate(decided)})
    texts = [*(text for _, text in annotated), *captions, *REPORTS]
    by_text = [[asdict(cue) for cue in negtrace.find_cues(text)] for text in texts]
    recorder.value("cues", {str(index): cues for index, cues in enumerate(by_text) if cues})
    recorder.value("words", [_negated_words(text) for text in captions])
    recorder.value("counterfactuals", [_counterfactuals(claim) for claim in _claim_grid()])


def _rows(path: str) -> list[dict[str, str]]:
    """Return the rows of a table whose columns are separated by tabs."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _concept_spans(concept: str, sentence: str) -> list[tuple[int, int]]:
    """Return the spans of an annotated concept: those in capitals, or else in any case."""
    words = r"\s+".join(map(re.escape, concept.split()))
    capitals = r"\s+".join(map(re.escape, concept.upper().split()))
    matches = list(re.finditer(capitals, sentence))
    return [match.span() for match in matches or re.finditer(words, sentence, re.IGNORECASE)]


def _negated_words(text: str) -> str:
    """Return a digit for each word of a text: 1 if it is negated, else 0."""
    spans = [match.span() for match in re.finditer(r"\w+", text)]
    return "".join(str(int(negtrace.is_negated(text, *span))) for span in spans)


def _claim_grid() -> Iterator[negtrace.Claim]:
    """Yield claims about every finding, with many combinations of attributes."""
    grid = {
        "finding": VOCABULARY,
        "present": (True, False),
        "side": (None, "left", "bilateral"),
        "zone": (None, "upper", "middle"),
        "severity": (None, "small", "moderate"),
        "certainty": (None, "possible"),
    }
    for values in product(*grid.values()):
        yield negtrace.Claim(**dict(zip(grid, values, strict=True)))


def _counterfactuals(claim: negtrace.Claim) -> list[Any]:
    """Return a claim with its counterfactuals, or with the error that it raises."""
    try:
        changed = [[each.changed, asdict(each.claim)] for each in negtrace.counterfactuals(claim)]
    except ValueError as error:
        return [asdict(claim), str(error)]
    except Exception as error:
        return [asdict(claim), type(error).__name__, str(error)]
    return [asdict(claim), changed]


def refusals(recorder: Recorder) -> None:
    """Messages about input that cannot be used."""
    bad_pairs = inputs.json_lines("bad.jsonl", [{"true": "No mass."}])
    broken, odd = f"{INPUTS}/broken.json", f"{INPUTS}/odd.csv"
    for label, command in {
        "corruption": "trace toy --corruption nothing",
        "setting": "trace toy --corruption noise --set strange=1",
        "site": "trace toy --sites attn_out",
        "window": "trace toy --window 9",
        "model": f"trace {INPUTS}/nowhere",
        "pairs": f"trace toy --pairs {bad_pairs}",
        "cte": f"scores {broken}",
        "plot": f"plot {broken}",
        "suite": "bench phantom --suite nothing",
        "sight": "bench toy --data phantom",
        "negbench": "bench phantom --suite negbench",
        "layout": f"dataset {odd}",
        "shares": f"dataset {odd} --val 0.6 --test 0.6",
        "weighting": f"finetune phantom --cte {VALSE} --weighting nothing",
        "finetune": f"finetune phantom --cte {broken}",
        "source": "pairs nothing",
        "valse": "pairs valse",
        "no-column": f"cues {odd}",
        "column": f"cues {odd} --column nothing",
    }.items():
        recorder.run(label, command)
    recorder.failures.clear()


JOBS = (pairs, dataset, cues, decisions, refusals)
