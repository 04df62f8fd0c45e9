"""Small models with seeded weights, of every family that `negtrace` loads or wraps."""

from pathlib import Path
from typing import Any

from stored_form import INPUTS

WORDS = (  # noqa: SIM905
    "[PAD] [UNK] [BOS] [EOS] [MASK] there is are no some seen the patient has present absent "
    "chest with without not free any of evidence a an abnormality in heart size normal lungs "
    "clear . , cars people yes true ? answer : pleural effusion pneumothorax cardiomegaly edema "
    "consolidation nodule fracture mass costophrenic angles sharp fluid blunts angle device"
).split()


def word_tokenizer() -> Any:
    """Return a tokenizer that gives each of a few words a token."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    ids = {word: index for index, word in enumerate(WORDS)}
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "pad", "bos", "eos", "mask")}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=names["unk_token"]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 2), ("[EOS]", 3)]
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def model_folder(family: str) -> str:
    """Write a small model of a family, and return its folder."""
    import torch

    torch.manual_seed(0)
    model, folder = _model(family), Path(INPUTS, family)
    with torch.no_grad():
        if family == "siglip":
            model.logit_scale.fill_(4.0)
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.5 if "embedding" in name or "wte" in name else 0.15)
    model.eval().save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    if family in ("clip", "siglip"):
        _image_processor(family).save_pretrained(folder)
    return str(folder)


def _model(family: str) -> Any:
    """Return a small model of a family."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
    size |= {"num_attention_heads": 4}
    ids = {"vocab_size": len(WORDS), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    text = {**size, **ids, "max_position_embeddings": 24 if family == "siglip" else 64}
    vision = {**size, "image_size": 32, "patch_size": 8}
    settings: dict[str, Any] = {
        "bert": text,
        "gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, **ids},
        "llama": {**text, "num_key_value_heads": 2},
        "clip": {"text_config": text, "vision_config": vision, "projection_dim": 16},
        "siglip": {"text_config": {**text, "projection_size": 32}, "vision_config": vision},
    }
    auto = AutoModelForCausalLM if family in ("gpt2", "llama") else AutoModel
    return auto.from_config(AutoConfig.for_model(family, **settings[family]))


def _image_processor(family: str) -> Any:
    """Return the image processor of a small dual encoder."""
    import transformers

    square = {"height": 32, "width": 32}
    if family == "clip":
        return transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=square)
    return transformers.SiglipImageProcessorPil(size=square)


def tower() -> Any:
    """Return a text tower of torch's own blocks, which no loader knows."""
    import torch
    from torch import nn

    class Tower(nn.Module):
        """An embedding and three transformer blocks."""

        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(4000, 32)
            blocks = (nn.TransformerEncoderLayer(32, 4, 64, batch_first=True) for _ in range(3))
            self.blocks = nn.ModuleList(blocks)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            hidden = self.embed(ids)
            for block in self.blocks:
                hidden = block(hidden)
            return hidden

    return Tower().eval()
