"""Tokenizers that are plain functions: they work, or one sentence says what they must offer."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from small_models import word_tokenizer
from test_bad_models import MaskFree

from negtrace.encoders.tokenizing import read_text
from negtrace.encoders.wrap import wrap
from negtrace.errors import EncoderError
from negtrace.pairs.radiology import radiology_pairs
from negtrace.tracing.trace import trace

TOKENIZER = word_tokenizer()
STATEMENT = "There is no effusion."


def whole(text: str) -> Any:
    return TOKENIZER(text, return_offsets_mapping=True)


def as_dict(text: str) -> dict[str, Any]:
    return {key: whole(text)[key] for key in ("input_ids", "offset_mapping")}


def as_tensors(text: str) -> dict[str, Any]:
    return {key: torch.tensor([value]) for key, value in as_dict(text).items()}


def as_arrays(text: str, truncation: bool = True) -> dict[str, Any]:
    assert truncation is False
    return {key: np.array(value) for key, value in as_dict(text).items()}


class Pieces:
    """A list of ids, and the piece of each id."""

    def __call__(self, text: str) -> list[int]:
        return whole(text)["input_ids"]

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return TOKENIZER.convert_ids_to_tokens(ids)


@pytest.mark.parametrize("function", [as_dict, as_tensors, as_arrays, Pieces(), whole])
def test_a_plain_function_is_traced_as_a_tokenizer_of_transformers(function: Any) -> None:
    plain = wrap(MaskFree(), function, name="plain")
    usual = wrap(MaskFree(), TOKENIZER, name="plain")
    [tokens], [expected] = plain.tokenize([STATEMENT]), usual.tokenize([STATEMENT])
    assert (tokens.ids, tokens.spans) == (expected.ids, expected.spans)
    pairs = radiology_pairs()[:2]
    one, two = (trace(each, pairs, progress=False) for each in (plain, usual))
    np.testing.assert_array_equal(one.patched, two.patched)


def raising(text: str) -> Any:
    raise KeyError(text)


OFFER = "expected a function from a statement to {'input_ids': [...], 'offset_mapping':"


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda text: whole(text)["input_ids"], "the tokenizer gives no spans of its tokens; "),
        (lambda text: {"ids": [1, 2]}, "the tokenizer gave a dict; "),
        (lambda text: None, "the tokenizer gave a NoneType; "),
        (raising, "the tokenizer raised KeyError for a statement; "),
        (lambda text: text.split(), "the tokenizer gave no whole numbers as input_ids; "),
        (
            lambda text: {"input_ids": [1, 2], "offset_mapping": [None, None]},
            "the tokenizer gave no spans as offset_mapping; ",
        ),
        (
            lambda text: {"input_ids": [1, 2], "offset_mapping": [(0, 1)]},
            "the tokenizer gives 2 ids, but spans, a mask or types of 1 tokens; ",
        ),
        ("no function", "the tokenizer raised TypeError for a statement; "),
    ],
)
def test_what_a_function_lacks_is_said_in_one_sentence(
    function: Callable[[str], Any], reason: str
) -> None:
    with pytest.raises(EncoderError, match=f"^{re.escape(reason + OFFER)}"):
        wrap(MaskFree(), function, name="plain")


def test_a_function_that_cannot_fill_a_statement_is_not_asked_to() -> None:
    with pytest.raises(
        EncoderError, match=r"takes no padding='max_length'.*leave fill_context out"
    ):
        read_text(as_dict, STATEMENT, padding="max_length", max_length=9)


def test_spans_end_with_the_statement() -> None:
    read = read_text(lambda text: {"input_ids": [5, 6], "offset_mapping": [(0, 2), (2, 99)]}, "No.")
    assert read.spans == ((0, 2), (2, 3))
