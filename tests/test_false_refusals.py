"""Models that work and were refused: by an added token, half precision, a short length, a name."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from small_models import TEXT, VISION, build, word_tokenizer
from test_bad_models import MaskFree
from test_sentence_transformers import STATEMENTS, folder_of
from torch import nn

from negtrace.encoders.huggingface.dual import DualEncoder
from negtrace.encoders.huggingface.text import TextEncoder
from negtrace.encoders.load import load
from negtrace.encoders.wrap import wrap
from negtrace.errors import EncoderError, NegtraceWarning
from negtrace.pairs import radiology_pairs
from negtrace.tracing.check import check
from negtrace.tracing.trace import trace


class Added:
    """A tokenizer whose added words have the largest ids, larger than that of the end token."""

    is_fast = True

    def __init__(self, words: list[str]) -> None:
        self.tokenizer = word_tokenizer(eos=119)
        ids = self.tokenizer.convert_tokens_to_ids(words)
        self.new = {old: 120 + index for index, old in enumerate(ids)}

    def __call__(self, text: str, **options: object) -> dict[str, Any]:
        output = dict(self.tokenizer(text, **options))
        return {**output, "input_ids": [self.new.get(old, old) for old in output["input_ids"]]}


def older_clip(added: list[str]) -> DualEncoder:
    """Return a CLIP whose embedding is read at the largest id, as its older files say."""
    ids = {"vocab_size": 140, "eos_token_id": 2, "bos_token_id": 2, "pad_token_id": 0}
    config = transformers.CLIPConfig(
        text_config={**TEXT, **ids}, vision_config=VISION, projection_dim=16
    )
    return DualEncoder(build(config, torch.float64), Added(added), None, name="older")


@pytest.mark.parametrize(
    "added", [["abnormality"], ["abnormality", "chest"], ["chest", "abnormality"]]
)
def test_an_added_word_in_the_probe_does_not_hide_the_read_out(added: list[str]) -> None:
    encoder = older_clip(added)
    assert encoder.reading["read_out"] == "last"
    assert check(encoder).passed
    texts = ["No heart.", "There is an abnormality in the heart."]
    plain, typed = encoder.located(encoder.tokenize(texts))
    assert plain.read_out == len(plain) - 1
    assert typed.read_out == typed.ids.index(max(typed.ids)) < len(typed) - 1


def test_a_tower_that_reads_a_position_in_the_middle_is_still_refused() -> None:
    tower = MaskFree()
    message = r"the embedding is read at position 3 of 10; expected the first, the last or all"
    with pytest.raises(EncoderError, match=message):
        wrap(tower, word_tokenizer(), encode=lambda ids: tower(ids)[:, 3], name="third")


class Casting(nn.Module):
    """A tower in bfloat16 whose blocks cast their states to bfloat16 by themselves."""

    def __init__(self, causal: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(120, 32)
        self.blocks = nn.ModuleList(_CastingBlock(causal) for _ in range(3))
        self.bfloat16()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(ids)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


class _CastingBlock(nn.Module):
    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.value, self.out = nn.Linear(32, 32), nn.Linear(32, 32)
        self.mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = hidden.to(torch.bfloat16)
        scores = hidden @ hidden.transpose(1, 2) / 6
        if self.causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
        mixed = scores.softmax(-1) @ self.value(hidden)
        hidden = hidden + self.out(mixed.to(torch.bfloat16))
        return hidden + self.mlp(hidden)


@pytest.mark.parametrize("causal", [True, False])
def test_a_model_that_casts_its_own_states_is_traced_in_its_own_precision(causal: bool) -> None:
    encoder = wrap(Casting(causal), word_tokenizer(), name="casting")
    assert encoder.heads >= 0
    with pytest.warns(NegtraceWarning, match="traced in bfloat16: no pair could be run in float32"):
        cte = trace(encoder, radiology_pairs()[:2], progress=False)
    assert len(cte.ids) == 2
    assert encoder.blocks[0].value.weight.dtype is torch.bfloat16


@pytest.mark.parametrize("longest", [4, 5, 6, 8])
def test_a_short_max_seq_length_is_checked_by_short_statements(
    longest: int, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "model", transformer={"max_seq_length": longest})
    encoder = load(folder)
    assert encoder.max_tokens == longest
    [compared] = [item for item in check(encoder).items if item.name == "patched scores"]
    few = "not compared: the model reads 4 tokens at most"
    assert compared.detail == few if longest == 4 else "in statements of" in compared.detail
    with torch.inference_mode():
        assert encoder.embed_texts(["No."]).isfinite().all()


def test_a_tower_with_few_positions_is_measured_by_a_short_statement() -> None:
    config = transformers.BertConfig(**{**TEXT, "max_position_embeddings": 6}, vocab_size=120)
    encoder = TextEncoder(build(config, torch.float32), word_tokenizer(), name="short")
    assert encoder.probe.shape == (1, 5)
    assert check(encoder).passed
    assert encoder.block_sites[0].attn_out


ACTIVATIONS = ["torch.nn.GELU", "torch.nn.modules.activation.GELU", "torch.nn.Identity"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_names_of_activations_are_those_of_sentence_transformers(name: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", later=[("Dense", {"activation_function": name})])
    with torch.inference_mode():  # a model may be loaded there too
        ours = load(folder, dtype="float64").embed_texts(STATEMENTS)
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True).double()
    theirs = torch.stack([model.encode(each, convert_to_tensor=True) for each in STATEMENTS])
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "name",
    ["torch.nn.Linear", "torch.load", "os.system", "GELU", "torch.nn.modules.container.Module", ""],
)
def test_another_name_is_no_activation(name: Any, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", later=[("Dense", {"activation_function": name})])
    with pytest.raises(EncoderError, match=r"has the activation .*expected one of torch.nn that"):
        load(folder)
