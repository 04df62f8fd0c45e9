"""Token types: a model is given those of its tokenizer, as when it is called directly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from small_encoders import exact_scores, oracle
from small_models import TEXT, build, word_tokenizer
from test_interop import hosted
from test_sentence_transformers import folder_of
from torch import nn

from negtrace.encoders.huggingface.causal_lm import CausalLanguageModel
from negtrace.encoders.huggingface.dual import DualEncoder
from negtrace.encoders.huggingface.text import TextEncoder
from negtrace.encoders.load import load
from negtrace.encoders.token_types import TokenTypes
from negtrace.encoders.wrap import wrap
from negtrace.errors import EncoderError
from negtrace.pairs import radiology_pairs
from negtrace.tracing.check import check
from negtrace.tracing.corruptions.base import corruption_named
from negtrace.tracing.engines.nnsight import NNsight
from negtrace.tracing.trace import trace

STATEMENTS = ["There is no effusion.", "The patient has some pneumothorax.", "No heart."]
TEMPLATES = {
    "typed statement": "[BOS]:0 $A:1 [EOS]:0",
    "typed end": "$A:0 [EOS]:0 [BOS]:2",
    "all 1": "[BOS]:1 $A:1 [EOS]:1",
}
XLNET = {"vocab_size": 120, "d_model": 32, "n_layer": 3, "n_head": 4, "d_inner": 64}


def config(kind: str) -> Any:
    if kind == "xlnet":
        return transformers.XLNetConfig(**XLNET)
    return transformers.BertConfig(**TEXT, vocab_size=120, type_vocab_size=3)


def model_of(kind: str) -> Any:
    model = build(config(kind), torch.float64)
    if kind == "xlnet":  # random weights of this kind are zeros
        for layer in model.layer:
            layer.rel_attn.seg_embed.data.normal_(std=0.5)
            layer.rel_attn.r_s_bias.data.normal_(std=0.5)
    return model


def typing_tokenizer(around: str = "[BOS] $A [EOS]") -> Any:
    """Return a tokenizer that gives token types, in files too."""
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return word_tokenizer(around=around, model_input_names=names)


def own_states(model: Any, tokenizer: Any, statement: str) -> torch.Tensor:
    with torch.no_grad():
        return model(**tokenizer(statement, return_tensors="pt"))


def read(output: Any, how: str) -> torch.Tensor:
    states = output.last_hidden_state
    return {
        "mean": lambda: states.mean(dim=1),
        "cls": lambda: states[:, 0],
        "last": lambda: states[:, -1],
        "pooler": lambda: output.pooler_output,
    }[how]()


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(
    ("front", "kind", "read_out"),
    [
        ("load", "bert", "mean"),
        ("load", "bert", "pooler"),
        ("load", "bert", "cls"),
        ("load", "xlnet", "mean"),
        ("wrap", "bert", "mean"),
        ("wrap", "xlnet", "last"),
    ],
)
def test_embeddings_are_those_of_the_model_called_directly(
    front: str, kind: str, read_out: str, template: str
) -> None:
    model, tokenizer = model_of(kind), typing_tokenizer(TEMPLATES[template])
    if front == "load":
        encoder: Any = TextEncoder(model, tokenizer, name=kind, read_out=read_out)
    else:
        encoder = wrap(model, tokenizer, read_out=read_out, name=kind)
    with torch.no_grad():
        ours = encoder.embed_texts(STATEMENTS)
    expected = [read(own_states(model, tokenizer, text), read_out) for text in STATEMENTS]
    torch.testing.assert_close(ours, torch.cat(expected), rtol=1e-9, atol=1e-12)
    plain = [read(model(torch.tensor([tokenizer(t)["input_ids"]])), read_out) for t in STATEMENTS]
    if template != "all 1" or kind == "bert":  # XLNet only sees which types differ
        assert not torch.allclose(ours, torch.cat(plain), rtol=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("later", [[], [("Dense", {})]])
@pytest.mark.parametrize("template", TEMPLATES)
def test_embeddings_are_those_of_sentence_transformers(
    template: str, later: list, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "model", later=later)
    typing_tokenizer(TEMPLATES[template]).save_pretrained(folder)
    model_of("bert").save_pretrained(folder)
    encoder = load(folder, dtype="float64")
    with torch.inference_mode():
        ours = encoder.embed_texts(STATEMENTS)
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True).double()
    theirs = torch.stack([model.encode(text, convert_to_tensor=True) for text in STATEMENTS])
    torch.testing.assert_close(
        torch.cosine_similarity(ours, theirs), torch.ones(3, dtype=torch.float64), rtol=1e-9, atol=0
    )


def test_a_dual_encoder_and_a_language_model_are_given_token_types() -> None:
    tokenizer = typing_tokenizer(TEMPLATES["typed statement"])
    dual = build(
        transformers.AlignConfig(
            text_config={**TEXT, "vocab_size": 120, "type_vocab_size": 2}, vision_config={}
        ),
        torch.float64,
    )
    encoder = DualEncoder(dual, tokenizer, None, name="align")
    with torch.no_grad():
        ours = encoder.embed_texts(STATEMENTS[:1])
        inputs = tokenizer(STATEMENTS[0], return_tensors="pt")
        expected = dual.get_text_features(**inputs).pooler_output
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)
    language = transformers.BertConfig(**TEXT, vocab_size=120, type_vocab_size=2, is_decoder=True)
    lm = build(language, torch.float64, transformers.AutoModelForCausalLM)
    asked = CausalLanguageModel(lm, tokenizer, name="bert")
    [tokens] = asked.tokenize(STATEMENTS[:1])
    assert tokens.types == (0, *(1,) * (len(tokens) - 1))
    ids = torch.tensor([tokens.ids])
    with torch.no_grad():
        logits = lm(ids, token_type_ids=torch.tensor([tokens.types])).logits[:, -1]
        answers = list(asked.prompt.answer_ids(tokenizer))
        torch.testing.assert_close(asked.encode(ids), logits[:, answers], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["bert", "xlnet"])
def test_every_cell_agrees_with_the_oracle(kind: str) -> None:
    tokenizer = typing_tokenizer(TEMPLATES["typed statement"])
    encoder = TextEncoder(model_of(kind), tokenizer, name=kind)
    assert check(encoder).passed
    pair = radiology_pairs()[0]
    true, false = encoder.tokenize([pair.true, pair.false])
    contrasts = corruption_named("swap").contrasts(pair, true, false, encoder)
    with torch.inference_mode():
        anchors = encoder.embed_anchors([pair.anchor])
        scores = exact_scores(encoder, contrasts, anchors)
        expected = oracle(encoder, contrasts[0], anchors[0], "denoising")
    np.testing.assert_allclose(scores[0].patched[0], expected, rtol=0, atol=1e-9)


class Plain(nn.Module):
    """A tower that takes token ids alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(120, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.encoder(self.embed(ids))


def test_types_that_a_model_does_not_take_are_refused_by_name() -> None:
    tower, tokenizer = Plain(), typing_tokenizer(TEMPLATES["typed statement"])
    with pytest.raises(EncoderError, match=r"Plain: the tokenizer gives token_type_ids other than"):
        wrap(tower, tokenizer)
    assert wrap(tower, tokenizer, encode=lambda ids: tower(ids).mean(1)).causal is False
    assert wrap(tower, typing_tokenizer()).causal is False
    distil = build(transformers.DistilBertConfig(dim=32, n_heads=4, hidden_dim=64), torch.float32)
    assert TextEncoder(distil, typing_tokenizer(), name="distil").token_types is None


def test_a_statement_with_types_of_another_kind_is_refused() -> None:
    class Mixed:
        is_fast = True

        def __call__(self, text: str, **options: object) -> object:
            output = typing_tokenizer()(text, **options)
            if "effusion" in text:
                output["token_type_ids"][2] = 1
            return output

    encoder = wrap(model_of("bert"), Mixed(), name="mixed")
    assert len(encoder.tokenize(["No heart."])) == 1
    with pytest.raises(EncoderError, match=r"mixed: the tokenizer gives a statement of 7 tokens"):
        encoder.tokenize(STATEMENTS)


@pytest.mark.parametrize(
    ("types", "count", "expected"),
    [
        ((0, 1, 1, 0), 6, (0, 1, 1, 1, 1, 0)),
        ((0, 0, 0, 2), 3, (0, 0, 2)),
        ((1, 1, 1), 5, (1,) * 5),
        ((0, 1, 1, 1), 2, (0, 1)),
    ],
)
def test_types_of_a_row_follow_from_its_length(
    types: tuple[int, ...], count: int, expected: tuple[int, ...]
) -> None:
    assert TokenTypes.of(types).row(count) == expected


def test_the_mean_of_a_position_is_right_where_states_hold_tokens_first() -> None:
    encoder = TextEncoder(model_of("xlnet"), typing_tokenizer(), name="xlnet")
    assert encoder.row_axis == 1
    pairs = radiology_pairs()[:4]
    table = encoder.model.word_embedding.weight
    rows = [row.ids for row in encoder.tokenize([s for p in pairs for s in (p.true, p.false)])]
    longest = max(map(len, rows))
    expected = [
        torch.stack([table[row[at]] for row in rows if at < len(row)]).mean(0)
        for at in range(longest)
    ]
    means = corruption_named("mean").prepared(pairs, encoder).means
    torch.testing.assert_close(means, torch.stack(expected), rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("corruption", ["mean", "zero"])
def test_engines_agree_on_a_tower_that_holds_tokens_first(corruption: str) -> None:
    encoder = TextEncoder(model_of("xlnet"), typing_tokenizer(), name="xlnet")
    one, other = (
        trace(encoder, radiology_pairs()[:4], corruption=corruption, method=method, progress=False)
        for method in ("exact", "transformer_lens")
    )
    np.testing.assert_allclose(one.patched, other.patched, rtol=0, atol=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["transformer_lens", "nnsight", "service"])
def test_every_engine_gives_the_model_its_token_types(method: str) -> None:
    tokenizer = typing_tokenizer(TEMPLATES["typed statement"])
    encoder = TextEncoder(model_of("bert"), tokenizer, name="bert")
    engine: Any = method
    if method == "service":
        engine = NNsight(remote="local", model=hosted(encoder.model))
    pairs = radiology_pairs()[:2]
    exact, other = (
        trace(encoder, pairs, method=each, progress=False) for each in ("exact", engine)
    )
    np.testing.assert_allclose(exact.patched, other.patched, rtol=0, atol=1e-6)
