"""Tokenizers: a small one in the style of each family, and those of CLIP and BERT."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from negtrace.pairs.alignment import Alignment, align
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair
from negtrace.pairs.tokens import Tokens

Family = Literal["clip", "siglip", "bert", "mean", "lm", "left"]
FAMILIES: tuple[Family, ...] = ("clip", "siglip", "bert", "mean", "lm", "left")
ADDED = {"clip": (1, 1), "siglip": (0, 1), "bert": (1, 1), "mean": (1, 1)}
START, END, PAD, WIDTH = 1, 2, 0, 16


def tokenize(text: str, family: Family = "clip") -> Tokens:
    """Return tokens of at most four letters, with the tokens that the family adds around them."""
    spans = [match.span() for match in re.finditer(r"\w{1,4}|[^\w\s]", text)]
    ids = [3 + sum(ord(c) << 8 * i for i, c in enumerate(text[a:b].lower())) for a, b in spans]
    before, after = ADDED.get(family, (0, 0))
    ids, spans = (
        [START] * before + ids + [END] * after,
        [(0, 0)] * before + spans + [(0, 0)] * after,
    )
    fill = max(0, WIDTH - len(ids)) if family in ("siglip", "left") else 0
    padding = [False] * len(ids)
    if family == "left":
        ids, spans, padding = [PAD] * fill + ids, [(0, 0)] * fill + spans, [True] * fill + padding
    else:
        ids, spans, padding = ids + [PAD] * fill, spans + [(0, 0)] * fill, padding + [True] * fill
    read_out = {"bert": 0, "mean": None}.get(family, len(ids) - 1)
    return Tokens(ids=tuple(ids), spans=tuple(spans), padding=tuple(padding), read_out=read_out)


def pair(true: str, false: str, **rest: Any) -> Pair:
    return Pair(true=true, false=false, anchor=Anchor(text="Clear."), **rest)


def aligned(true: str, false: str, family: Family = "clip", **rest: Any) -> Alignment:
    return align(pair(true, false, **rest), tokenize(true, family), tokenize(false, family))


def clip_tokens(folder: Path) -> Callable[[str], Tokens]:
    """Return CLIP's byte-pair tokenizer, made of its published vocabulary."""
    lines = gzip.decompress((folder / "clip_bpe/bpe_simple_vocab_16e6.txt.gz").read_bytes())
    merges = [tuple(line.split()) for line in lines.decode().split("\n")[1 : 49152 - 256 - 1]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [*letters, *(f"{c}</w>" for c in letters), *("".join(merge) for merge in merges)]
    ids = {piece: i for i, piece in enumerate(vocabulary, start=3)}
    model = Tokenizer(models.BPE(vocab=ids, merges=merges, end_of_word_suffix="</w>"))
    model.normalizer = normalizers.Lowercase()
    words = Regex(r"'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    split = pre_tokenizers.Split(words, behavior="removed", invert=True)
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    return lambda text: framed(model, text)


def bert_tokens(folder: Path) -> Callable[[str], Tokens]:
    """Return BERT's uncased WordPiece tokenizer."""
    lines = (folder / "bert_vocab/vocab.txt").read_text("utf-8").splitlines()
    vocabulary = {piece: i + 3 for i, piece in enumerate(lines)}
    model = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    model.normalizer = normalizers.BertNormalizer()
    model.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return lambda text: framed(model, text)


def framed(model: Tokenizer, text: str) -> Tokens:
    encoding = model.encode(text)
    return Tokens(
        ids=(START, *encoding.ids, END),
        spans=((0, 0), *encoding.offsets, (0, 0)),
        padding=(False,) * (len(encoding.ids) + 2),
        read_out=len(encoding.ids) + 1,
    )
