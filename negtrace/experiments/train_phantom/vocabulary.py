"""Tokenizer of the phantom: byte-pair encoding learned on reports. It can tokenize any text."""

__all__ = ["CONTEXT", "train_tokenizer"]

from collections.abc import Iterable

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from negtrace.language.findings import FINDINGS
from negtrace.language.twins import finding_twins

CONTEXT = 77
"""Length of the longest text, in tokens."""

PAD, BOS, EOS = "<|pad|>", "<|startoftext|>", "<|endoftext|>"
"""Special tokens with the ids 0, 1 and 3. An end token with id 2 would make CLIP read elsewhere."""

UNUSED = "<|unused|>"

LEXICON_WEIGHT = 20
"""Number of copies of the sentences of `findings.toml` among the training texts.

They keep the names of all findings as whole words, though few of them occur in the reports.
"""


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose vocabulary is learned on `texts` and `findings.toml`.

    Upper and lower case are the same to it.
    """
    pairs = Tokenizer(models.BPE())
    pairs.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    pairs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        min_frequency=4,
        show_progress=False,
        special_tokens=[PAD, BOS, UNUSED, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    pairs.train_from_iterator([*texts, *_lexicon()], trainer)
    ends = [(BOS, pairs.token_to_id(BOS)), (EOS, pairs.token_to_id(EOS))]
    pairs.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(single=f"{BOS} $A {EOS}", special_tokens=ends),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=pairs,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def _lexicon() -> list[str]:
    lines = [
        line
        for finding in FINDINGS.values()
        for line in (
            finding.term,
            finding.normal_phrase,
            finding.normal,
            finding.abnormal,
            *(statement for pair in finding_twins(finding) for statement in pair),
        )
    ]
    return lines * LEXICON_WEIGHT
