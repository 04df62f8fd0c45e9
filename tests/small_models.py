"""Parts of the small models of the tests: sizes, a word tokenizer, random weights."""

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from negtrace.language.findings import FINDINGS

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 24,
}
VISION = {**TEXT, "image_size": 32, "patch_size": 8}
VISION.pop("max_position_embeddings")
PIXELS = {**VISION, "num_hidden_layers": 2}
WORDS = [
    "there",
    "is",
    "are",
    "no",
    "some",
    "seen",
    "the",
    "patient",
    "has",
    "present",
    "absent",
    "chest",
    "with",
    "without",
    "not",
    "free",
    "any",
    "of",
    "evidence",
    "a",
    "an",
    "abnormality",
    "in",
    "heart",
    "size",
    "normal",
    "lungs",
    "clear",
    ".",
    ",",
    "cars",
    "people",
    "yes",
    "true",
    "?",
    "answer",
    ":",
]


def word_tokenizer(
    eos: int = 3,
    image: int | None = None,
    around: str = "[BOS] $A [EOS]",
    *,
    mask: bool = False,
    **options: object,
) -> transformers.PreTrainedTokenizerFast:
    """Return a tokenizer of lower-cased words; any other word is [UNK].

    Args:
        eos: the id of the end token.
        image: the id of an image token, if there is one.
        around: template of the tokens around a text.
        mask: whether it has a mask token, as in BERT.
        options: further options of the tokenizer.
    """
    terms = [word for finding in FINDINGS.values() for word in finding.term.split()]
    words = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", *dict.fromkeys([*WORDS, *terms]), "[MASK]"]
    ids = {word: i for i, word in enumerate(words)} | {"[EOS]": eos}
    ids |= {} if image is None else {"<image>": image}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=around, special_tokens=[("[BOS]", 2), ("[EOS]", eos)]
    )
    if image is not None:
        options["extra_special_tokens"] = {"image_token": "<image>"}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        bos_token="[BOS]",
        eos_token="[EOS]",
        mask_token="[MASK]" if mask else None,
        **options,
    )


def build(
    config: transformers.PreTrainedConfig,
    dtype: torch.dtype,
    auto: type = transformers.AutoModel,
) -> transformers.PreTrainedModel:
    """Return a model with random weights that are large enough for every block to matter."""
    torch.manual_seed(0)
    model = auto.from_config(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.15 if "embedding" not in name else 0.5)
    return model.to(dtype)
