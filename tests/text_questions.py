"""Small files of made-up questions in the layouts of NevIR, LM_Negation and FACTOR."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ORGANS = ("heart", "lungs", "chest", "size", "abnormality", "people", "cars", "patient", "evidence")


def nevir(path: Path, *, extra: Sequence[Any] = ()) -> Path:
    """Write queries and documents as NevIR publishes them."""
    rows = [
        {
            "id": str(number),
            "WorkerId": 0,
            "q1": f"Which patient has a normal {organ}?",
            "q2": f"Which patient has no normal {organ}?",
            "doc1": f"The {organ} is normal.",
            "doc2": f"The {organ} is not normal.",
        }
        for number, organ in enumerate(ORGANS)
    ]
    path.write_text("\n".join(map(json.dumps, [*rows, *extra])))
    return path


def lm_negation(path: Path, *, lists: bool = False, extra: Sequence[Any] = ()) -> Path:
    """Write prompts and answers as LM_Negation publishes them, with one answer or several."""
    rows = [
        {
            "prompt_number": number,
            "negative_q": f"Here is the {organ} that is not clear:",
            "negative_a": ["abnormality", "evidence", "people"] if lists else "abnormality",
            "positive_q": f"Here is the {organ} that is indeed clear:",
            "positive_a": ["lungs", "chest"] if lists else "lungs",
            "attr_1": organ,
            "attr_2": "clear",
        }
        for number, organ in enumerate(ORGANS)
    ]
    path.write_text(json.dumps([*rows, *extra], indent=2))
    return path


def factor(
    path: Path, *, prefix: str = "turncated_prefixes", extra: Sequence[Sequence[str]] = ()
) -> Path:
    """Write prefixes and completions as FACTOR publishes them."""
    names = ["completion", *(f"contradiction_{number}" for number in range(3))]
    header = ["", "full_prefix", "doc_id", *names, "longest_completions"]
    header += [prefix] if prefix not in header else []
    rows = [
        [
            *(str(number), f"All of it. The patient has no {organ}. ", str(number // 2)),
            *(f"The {organ} is {end}." for end in ("absent", "present", "normal", "clear")),
            *("5.0", f"The patient has no {organ}. "),
        ][: len(header)]
        for number, organ in enumerate(ORGANS)
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows, *extra])
    return path
