"""Words: a small tokenizer, and the contrasts that every class is traced on."""

__all__ = ["ANCHOR", "CONTRASTS", "EOS", "VOCABULARY", "tokenizer"]

from typing import Any

import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

ANCHOR = "Clear."
SHORT = "There is {} effusion."
LONG = (
    "The heart and the lungs are seen on the left and on the right of the chest and there is {} "
    "effusion at the base of the left lung and the wall of the chest is as in the image of the day "
    "before and the size of the heart is normal."
)
CONTRASTS = {
    "short": (SHORT.format("no"), SHORT.format("some")),
    "long": (LONG.format("no sign of"), LONG.format("").replace("  ", " ")),
}
"""True and false statement, by name. The long statements differ in length: their tokens behind the
negation stand at other positions."""

WORDS = [
    *sorted({*LONG.replace(".", "").lower().format("no sign of some").split()}),
    *("clear", "this", "true", "answer", "yes", "?", ":", ".", "abnormality", "pneumothorax"),
    *("it", "so", "an", "a", "for", "not"),
]
EOS = 127
"""Id of the end token: the largest, because some towers read the largest id of a row."""
VOCABULARY = 160
"""Token ids of every model: words below `EOS`, and what a configuration reserves above it."""


def tokenizer(around: str = "[BOS] $A [EOS]") -> Any:
    """Return a tokenizer of lower-cased words; any other word is [UNK].

    Args:
        around: template of the tokens around a text.
    """
    ids = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[BOS]", *dict.fromkeys(WORDS)])}
    ids |= {"[EOS]": EOS, "[MASK]": EOS - 1}
    tokens = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))  # noqa: S106
    tokens.normalizer = normalizers.Lowercase()
    tokens.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokens.post_processor = processors.TemplateProcessing(
        single=around, special_tokens=[("[BOS]", 2), ("[EOS]", EOS)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        unk_token="[UNK]",  # noqa: S106
        pad_token="[PAD]",  # noqa: S106
        bos_token="[BOS]",  # noqa: S106
        eos_token="[EOS]",  # noqa: S106
        mask_token="[MASK]",  # noqa: S106
    )
