"""Models whose rows depend on each other: every number is that of a row alone.

So are the embeddings of anchors, which no comparison of patched rows shows.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from small_encoders import oracle
from small_models import TEXT, build, word_tokenizer
from torch import nn

import negtrace
from negtrace.encoders.base import Encoder
from negtrace.encoders.digests import settings_digest
from negtrace.encoders.hooks import evaluating
from negtrace.encoders.huggingface.text import TextEncoder
from negtrace.encoders.wrap import wrap
from negtrace.errors import EncoderError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair
from negtrace.tracing.corruptions.base import corruption_named
from negtrace.tracing.engines import coupling
from negtrace.tracing.trace import trace

WIDTH, EXPERTS = 16, 4
ANCHORS = (
    "The lungs are clear.",
    "The heart is normal.",
    "The chest is clear.",
    "The heart has edema.",
)
"""Of one length, so that they are embedded together."""
FINDINGS = (
    "effusion",
    "edema",
    "large effusion",
    "small pleural effusion",
    "large pleural effusion in the chest",
)
"""For statements of four lengths: 7, 8, 9 and 12 tokens."""


def pairs(anchors: Sequence[str] = ANCHORS) -> list[Pair]:
    return [
        Pair(
            true=f"There is no {finding}.",
            false=f"There is some {finding}.",
            anchor=Anchor(text=anchors[number % len(anchors)]),
        )
        for number, finding in enumerate(FINDINGS)
    ]


class Experts(nn.Module):
    """Experts of which each takes its share of a batch's tokens at most, times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.router = nn.Linear(WIDTH, EXPERTS, bias=False)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(EXPERTS))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        tokens = hidden.reshape(-1, WIDTH)
        weight, chosen = self.router(tokens).softmax(-1).max(-1)
        limit = math.ceil(self.factor * len(tokens) / EXPERTS)
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            places = (chosen == number).nonzero()[:limit, 0]
            out[places] = weight[places, None] * expert(tokens[places])
        return out.view(hidden.shape)


class Block(nn.Module):
    """A pre-norm block."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.norm, self.read = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.write, self.mlp = nn.Linear(WIDTH, WIDTH), mlp

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        query, key, value = self.read(self.norm(hidden)).chunk(3, dim=-1)
        attended = nn.functional.scaled_dot_product_attention(query, key, value)
        hidden = hidden + self.write(attended)
        return hidden + self.mlp(self.norm(hidden))


class Tower(nn.Module):
    """Three blocks; behind the first one, states go through a function of the whole batch."""

    def __init__(
        self,
        between: Callable[[torch.Tensor], torch.Tensor] | None = None,
        mlp: Callable[[], nn.Module] = lambda: nn.Linear(WIDTH, WIDTH),
    ) -> None:
        super().__init__()
        self.between = between
        self.embed, self.places = nn.Embedding(120, WIDTH), nn.Embedding(80, WIDTH)
        self.blocks = nn.ModuleList(Block(mlp()) for _ in range(3))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(ids) + self.places(torch.arange(ids.shape[1]))
        for number, block in enumerate(self.blocks):
            hidden = block(hidden)
            if self.between is not None and number == 0:
                hidden = self.between(hidden)
        return hidden


def without_mean(hidden: torch.Tensor) -> torch.Tensor:
    return hidden - 0.3 * hidden.mean(dim=0, keepdim=True)


def without_mean_at(*lengths: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda hidden: without_mean(hidden) if hidden.shape[1] in lengths else hidden


class Normed(nn.Module):
    """Normalization by the statistics of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH, track_running_stats=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.norm(hidden.transpose(1, 2)).transpose(1, 2)


def ready(model: nn.Module) -> nn.Module:
    """Return a model of float64 whose weights are large enough for every block to matter."""
    model = model.double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
    return model


def tower(*args: Any, **options: Any) -> Encoder:
    torch.manual_seed(0)
    return wrapped(Tower(*args, **options))


def wrapped(model: nn.Module, **options: Any) -> Encoder:
    """Return a tower as an encoder, ready to run."""
    blocks = [f"blocks.{number}" for number in range(3)]
    return wrap(ready(model), word_tokenizer(), blocks=blocks, name="tower", **options)


def quantized() -> Encoder:
    """Return a BERT whose linear maps quantize by the largest number of the batch."""
    bert = build(transformers.BertConfig(**TEXT, vocab_size=120), torch.float32)
    small = torch.ao.quantization.quantize_dynamic(bert, {nn.Linear}, dtype=torch.qint8)
    return TextEncoder(small, word_tokenizer(), name="bert", read_out="mean")


COUPLED: dict[str, Callable[[], Encoder]] = {
    "mean of the batch": lambda: tower(without_mean),
    "mean of the batch, at one length": lambda: tower(without_mean_at(8)),
    "statistics of the batch": lambda: tower(Normed()),
    "experts, factor 1.25": lambda: tower(mlp=lambda: Experts(1.25)),
    "experts, factor 3": lambda: tower(mlp=lambda: Experts(3)),
    "int8": quantized,
}


def largest_gap(encoder: Encoder, traced: Sequence[Pair], **options: Any) -> tuple[float, str]:
    """Return the largest gap to plain forwards of rows alone, as a share of |d|, and the route."""
    direction = options.setdefault("direction", "denoising")
    cte = trace(encoder, traced, progress=False, **options)
    gaps = []
    for row, pair in enumerate(traced):
        true, false = encoder.tokenize([pair.true, pair.false])
        [contrast] = corruption_named("swap").contrasts(pair, true, false, encoder)
        with torch.inference_mode(), evaluating(encoder.model):
            [anchor] = encoder.embed_anchors([pair.anchor])
            expected = oracle(encoder, contrast, anchor, direction)
        own = cte.patched[row, 0][:, : expected.shape[1]]
        gaps.append(np.nanmax(np.abs(own - expected)) / abs(cte.d[row]))
    return max(gaps), cte.provenance.config["self_check"]["route"]


@pytest.mark.filterwarnings("ignore:.*quant:DeprecationWarning", "ignore:.*quant:UserWarning")
@pytest.mark.parametrize("name", COUPLED)
@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_rows_that_depend_on_each_other_run_alone(name: str, direction: str) -> None:
    """Statements and anchors."""
    gap, route = largest_gap(COUPLED[name](), pairs(), direction=direction)
    assert (gap < 1e-9, route) == (True, "one by one")


def test_rows_that_do_not_run_together() -> None:
    gap, route = largest_gap(tower(mlp=lambda: Experts(EXPERTS)), pairs())
    assert (gap < 1e-9, route) == (True, "from the layer")


def test_anchors_alone_are_coupled_where_statements_are_not() -> None:
    """At a length that no statement has; the statements run together all the same."""
    anchors = [f"{anchor} The lungs are clear." for anchor in ANCHORS]
    encoder = tower(without_mean_at(12))
    assert {len(tokens) for tokens in encoder.tokenize(anchors)} == {12}
    gap, route = largest_gap(encoder, pairs(anchors)[:3])
    assert (gap < 1e-9, route) == (True, "from the layer")


@dataclass
class Picture:
    """Embeds images by their brightness, less a share of the mean of the batch."""

    share: float
    sizes: list[int] = field(default_factory=list)

    def __call__(self, images: Sequence[Any]) -> torch.Tensor:
        self.sizes.append(len(images))
        rows = [np.asarray(image.convert("L").resize((4, 4))).ravel() for image in images]
        embedded = torch.tensor(np.stack(rows) / 255.0)
        return embedded - self.share * embedded.mean(dim=0, keepdim=True)


@pytest.mark.parametrize(("share", "sizes"), [(0, [5, 1]), (0.5, [5, 1, 1, 1, 1, 1, 1])])
def test_images_are_embedded_alone_where_they_depend_on_each_other(
    share: float, sizes: list[int]
) -> None:
    images = Picture(share)
    torch.manual_seed(0)
    encoder = wrapped(Tower(), embed_images=images)
    random = np.random.default_rng(0)
    traced = [
        Pair(
            true=pair.true,
            false=pair.false,
            anchor=Anchor(image=Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8))),
        )
        for pair in pairs()
    ]
    for method in ("exact", "attribution"):
        images.sizes.clear()
        cte = trace(encoder, traced, method=method, progress=False)
        assert images.sizes == sizes
        for row, pair in enumerate(traced):
            text, anchor = encoder.embed_texts([pair.true]), encoder.embed_anchors([pair.anchor])
            with torch.inference_mode():
                score = encoder.score(text, anchor).item()
            assert cte.clean[row] == pytest.approx(score, abs=1e-12)


def test_half_precision_is_no_coupling() -> None:
    """A batch rounds in another way; both are compared in float32."""
    torch.manual_seed(0)
    encoder = wrap(ready(Tower()).to(torch.bfloat16), word_tokenizer(), name="tower")
    with pytest.warns(negtrace.errors.NegtraceWarning, match="traced in bfloat16"):
        cte = trace(encoder, pairs(), progress=False)
    assert cte.provenance.config["self_check"]["route"] == "from the layer"
    texts = [pair.anchor for pair in pairs()]
    with torch.inference_mode():
        embedded = encoder.embed_anchors(texts)
        assert not coupling.rely_on_others(encoder, texts, embedded)


def test_the_check_says_how_rows_depend_on_each_other() -> None:
    report = negtrace.check(tower(mlp=lambda: Experts(3)))
    [item] = [item for item in report.items if item.name == "patched scores"]
    assert item.holds
    assert "rows run: one by one; not from the layer, whole rows: rows depend on" in item.detail


def test_a_model_that_draws_random_numbers_is_not_called_coupled() -> None:
    encoder = tower(lambda hidden: hidden + 0.01 * torch.randn_like(hidden))
    with pytest.raises(EncoderError, match="random numbers") as error:
        trace(encoder, pairs(), progress=False)
    assert "depend on" not in str(error.value)


def test_a_coupling_that_is_an_error_of_the_model_is_the_reason() -> None:
    """Rows that cannot run together run alone."""

    class Limited(Tower):
        limit = 64

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            if len(ids) > self.limit:
                raise ValueError("too many rows")
            return super().forward(ids)

    torch.manual_seed(0)
    encoder = wrapped(Limited())
    encoder.model.limit = 4
    gap, route = largest_gap(encoder, pairs(ANCHORS[:1])[:2])
    assert (gap < 1e-9, route) == (True, "one by one")


class Flagged(Tower):
    """Couples rows where it is told so."""

    coupled = False

    def __init__(self) -> None:
        super().__init__()
        self.config = transformers.BertConfig(coupled=False)
        self.blocks[1].options = {"coupled": [False]}

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        coupled = self.coupled or self.config.coupled or self.blocks[1].options["coupled"][0]
        self.between = without_mean if coupled else None
        return super().forward(ids)


SWITCHES: dict[str, Callable[[Flagged], None]] = {
    "module": lambda model: setattr(model, "coupled", True),
    "class": lambda model: setattr(type(model), "coupled", True),
    "config": lambda model: setattr(model.config, "coupled", True),
    "collection": lambda model: model.blocks[1].options.update(coupled=[True]),
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_setting_that_changes_after_a_trace_is_seen(switch: str) -> None:
    torch.manual_seed(0)
    own = type("Own", (Flagged,), {})  # so that no other test has its class changed
    model = own()
    encoder = wrapped(model)
    assert largest_gap(encoder, pairs())[1] == "from the layer"
    SWITCHES[switch](model)
    gap, route = largest_gap(encoder, pairs())
    assert (gap < 1e-9, route) == (True, "one by one")


def test_a_trace_of_the_same_is_not_compared_twice() -> None:
    encoder = tower()
    for _ in range(2):
        trace(encoder, pairs(), progress=False)
    others = 1  # that no statement bypasses the blocks
    assert len(encoder.agreements) == 1 + others
    for positions in ("role", "all", "role"):
        trace(encoder, pairs(), positions=positions, progress=False)
    assert len(encoder.agreements) == 3 + others
    trace(encoder, pairs()[:1], progress=False)  # lengths that were compared, but fewer of them
    assert len(encoder.agreements) == 4 + others


def test_settings_are_those_of_every_module() -> None:
    model = nn.Sequential(nn.Dropout(0.1), nn.Sequential(nn.GELU()))
    digests = [settings_digest(model)]
    model.eval()  # a trace does so itself
    assert settings_digest(model) == digests[0]
    for change in (
        lambda: setattr(model[0], "p", 0.2),
        lambda: setattr(model[1][0], "approximate", "tanh"),
        lambda: setattr(model[1], "act", nn.functional.gelu),
        lambda: setattr(model[1], "act", nn.functional.relu),
        lambda: setattr(model[1], "sizes", {"a": (1, 2)}),
        lambda: setattr(model[1], "sizes", {"a": (1, 3)}),
        lambda: model[1].__setitem__(0, nn.ReLU()),
    ):
        change()
        digests.append(settings_digest(model))
    assert len(set(digests)) == len(digests)


class Narrow(Block):
    """A block that routes in float32, whatever its weights are."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(WIDTH, WIDTH))
        self.router = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        weight = nn.functional.linear(hidden.float(), self.router.weight.float())
        # Sums of many rows are rounded in another way than those of one.
        weight = weight + 3e-7 * min(1, len(hidden) - 1) * weight.abs()
        return super().forward(hidden) * weight.sigmoid().to(hidden)


def test_float64_that_is_rounded_to_float32_on_the_way_agrees_like_float32() -> None:
    torch.manual_seed(0)
    model = Tower()
    model.blocks = nn.ModuleList(Narrow() for _ in range(3))
    encoder = wrapped(model)
    gap, route = largest_gap(encoder, pairs())
    assert route == "from the layer"
    assert 1e-9 < gap < 1e-5


def test_float64_that_stays_float64_agrees_like_float64() -> None:
    """The same gap, and nothing that explains it."""
    encoder = tower(lambda hidden: hidden * (1 + 3e-7 * min(1, len(hidden) - 1)))
    gap, route = largest_gap(encoder, pairs())
    assert (gap < 1e-9, route) == (True, "one by one")
