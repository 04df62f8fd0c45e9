"""Rules that tests of other projects expect, on sentences of our own: agreed, or why not."""

import csv
from pathlib import Path

import pytest

from negtrace.language.negation import negation_of
from negtrace.language.parse import sentence_spans

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "language.md"

with Path(__file__).with_name("rules_of_other_projects.tsv").open(encoding="utf-8") as file:
    RULES = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def status(sentence: str) -> str:
    """Return what negtrace says of the concept in brackets."""
    start, end = sentence.index("["), sentence.index("]") - 1
    text = sentence.replace("[", "").replace("]", "")
    if not any(first <= start < last for first, last in sentence_spans(text)):
        return "left out"
    return negation_of(text, start, end).status


@pytest.mark.parametrize("rule", RULES, ids=[rule["sentence"] for rule in RULES])
def test_each_rule_is_followed_or_not_on_purpose(rule: dict[str, str]) -> None:
    assert status(rule["sentence"]) == rule["ours"]
    assert (rule["ours"] == rule["theirs"]) == (not rule["why we differ"])
    assert rule["theirs"] in {"affirmed", "negated", "uncertain"}


def test_the_page_says_how_many_agree_and_shows_each_difference() -> None:
    page = PAGE.read_text("utf-8")
    apart = [rule for rule in RULES if rule["why we differ"]]
    assert f"holds {len(RULES)} rules" in page
    assert f"{len(RULES) - len(apart)} agree. {len(apart)} differ on purpose" in page
    for rule in apart:
        sentence = rule["sentence"].replace("[", "*").replace("]", "*")
        cells = (sentence, rule["theirs"], rule["ours"], rule["why we differ"])
        assert f"| {rule['project']} | {' | '.join(cells)} |" in page
    assert {rule["theirs"] for rule in RULES} == {"affirmed", "negated", "uncertain"}
