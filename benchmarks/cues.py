"""Measure the cue finder: precision and recall on the NegEx kit, and sentences per second.

python benchmarks/cues.py --data ../shared/data --out benchmarks/results/cues.json
"""

import argparse
import csv
import hashlib
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from record import machine, record

from negtrace.language.cues import find_cues, read_cues
from negtrace.language.negation import is_negated

Row = Mapping[str, str]


def concept_spans(concept: str, sentence: str) -> list[tuple[int, int]]:
    """Return the characters of the annotated concept: in capitals, or else in any case."""
    pattern = r"\s+".join(map(re.escape, concept.split()))
    capitals = r"\s+".join(map(re.escape, concept.upper().split()))
    hits = list(re.finditer(capitals, sentence))
    return [hit.span() for hit in hits or re.finditer(pattern, sentence, re.IGNORECASE)]


def score(rows: Sequence[Row]) -> dict[str, float]:
    """Return precision and recall of the answers whether each row's concept is negated."""
    answers = [
        any(
            is_negated(row["Sentence"], *span)
            for span in concept_spans(row["Concept"], row["Sentence"])
        )
        for row in rows
    ]
    gold = [row["Negation"] == "Negated" for row in rows]
    hits = sum(a and b for a, b in zip(answers, gold, strict=True))
    precision, recall = hits / sum(answers), hits / sum(gold)
    return {
        "rows": len(rows),
        "negated": sum(gold),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(2 * precision * recall / (precision + recall), 4),
    }


def half(row: Row) -> int:
    """Return the half of the row's report. The rules were revised with half 0 in view."""
    return hashlib.sha256(row["Report No."].encode()).digest()[0] % 2


def per_second(read: Callable[[str], object], sentences: Sequence[str], repeats: int) -> float:
    """Return the sentences a second of processor time in the fastest of several runs."""

    def seconds() -> float:
        start = time.process_time()
        for sentence in sentences:
            read(sentence)
        return time.process_time() - start

    return len(sentences) / min(seconds() for _ in range(repeats))


def captions(data: Path) -> dict[str, int]:
    """Return the number of cues, doubts and pseudo-negations in real radiology captions."""
    with (data / "roco" / "captions_ccby_part.tsv").open(newline="", encoding="utf-8") as file:
        readings = [read_cues(row["caption"]) for row in csv.DictReader(file, delimiter="\t")]
    return {
        "captions": len(readings),
        "with_a_cue": sum(bool(reading.cues) for reading in readings),
        "before": sum(c.category == "before" for r in readings for c in r.cues),
        "after": sum(c.category == "after" for r in readings for c in r.cues),
        "uncertain": sum(len(reading.doubts) for reading in readings),
        "pseudo": sum(len(reading.pseudo) for reading in readings),
    }


def main() -> None:
    """Measure, print the figures and write them to the file given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with (options.data / "negex" / "annotations_part.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    sentences = [row["Sentence"] for row in rows]
    cued = [sentence for sentence in sentences if find_cues(sentence)]
    figures = {
        **machine(threads=1),
        "python": platform.python_version(),
        "negex_kit_part": score(rows),
        "half_in_view": score([row for row in rows if half(row) == 0]),
        "other_half": score([row for row in rows if half(row) == 1]),
        "sentences_per_second": round(per_second(find_cues, sentences, options.repeats)),
        "sentences_with_a_cue_per_second": round(per_second(find_cues, cued, options.repeats)),
        "characters_a_sentence": round(sum(map(len, sentences)) / len(sentences), 1),
        "roco": captions(options.data),
    }
    record(figures, options.out)


if __name__ == "__main__":
    main()
