"""Layer scores in other trainers, on models that negtrace has no class for."""

import csv
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from claim_sets import same, weights
from golden import results
from open_clip_models import native
from open_clip_package import open_clip
from small_encoders import bert, clip
from small_models import word_tokenizer
from torch import nn

import negtrace
from negtrace import training
from negtrace.encoders.base import Encoder
from negtrace.errors import CTEError, FinetuneError, NegtraceWarning
from negtrace.results.cte_json import write_json

MULTIPLIERS = {"b.0": 0.5, "b.1": 0.0, "b.2": 2.0}


class Tower(nn.Module):
    """Three blocks and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.b = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(3))
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        y = x
        for block in self.b:
            y = y + block(y)
        y = self.head(y)
        if labels is None:
            return y
        return {"loss": nn.functional.cross_entropy(y, labels), "logits": y}


class Numbers(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        x = torch.randn(4, generator=torch.Generator().manual_seed(index))
        return {"x": x, "labels": torch.tensor(index % 2)}


def step(module: Tower, optimizer: torch.optim.Optimizer, times: int = 3) -> dict[str, Any]:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    for _ in range(times):
        optimizer.zero_grad()
        module(x, torch.arange(8) % 2)["loss"].backward()
        optimizer.step()
    return {name: weight.detach().clone() for name, weight in module.named_parameters()}


def test_multipliers_of_1_give_a_plain_optimizer_bit_for_bit() -> None:
    tower, other = Tower(), Tower()
    scaled = torch.optim.AdamW(
        training.param_groups(tower, dict.fromkeys(MULTIPLIERS, 1.0), rate=0.01)
    )
    plain = torch.optim.AdamW(other.parameters(), lr=0.01, weight_decay=0.0)
    assert same(step(tower, scaled), step(other, plain))


def test_a_block_with_multiplier_0_does_not_change_even_with_decay() -> None:
    tower, before = Tower(), dict(Tower().named_parameters())
    groups = training.param_groups(tower, MULTIPLIERS, rate=0.01, weight_decay=0.1)
    after = step(tower, torch.optim.AdamW(groups))
    moved = {name.rpartition(".")[0][:3] for name in after if not after[name].equal(before[name])}
    assert moved == {"b.0", "b.2", "hea"}


def test_a_rate_is_multiplied_by_block_and_norms_do_not_decay() -> None:
    groups = training.param_groups(Tower(), MULTIPLIERS, rate=0.01, weight_decay=0.1)
    options = {(g["name"], g["params"][0].ndim): (g["lr"], g["weight_decay"]) for g in groups}
    assert options["b.0", 2] == (0.005, 0.1)
    assert options["b.0", 1] == (0.005, 0.0)
    assert options["b.2", 2] == (0.02, 0.1)
    assert options["rest", 2] == (0.01, 0.1)
    assert sum(len(group["params"]) for group in groups) == len(list(Tower().parameters()))


def test_blocks_are_found_by_name_through_wrappers_and_prefixes() -> None:
    tower = Tower()
    compiled = nn.Module()
    compiled.add_module("_orig_mod", tower)
    assert training.sizes_of(compiled, MULTIPLIERS) == dict.fromkeys(MULTIPLIERS, 28)
    nested = nn.ModuleDict({"text": tower})
    assert training.sizes_of(nested, MULTIPLIERS, prefix="text.") == dict.fromkeys(MULTIPLIERS, 28)
    with pytest.raises(FinetuneError, match=r"no weight in b\.0, b\.1, b\.2: .* prefix="):
        training.sizes_of(nested, MULTIPLIERS)


def wrapped_in_peft(module: nn.Module) -> nn.Module:
    config = peft.LoraConfig(target_modules=r".*b\.\d\.0", r=2)
    return peft.get_peft_model(module, config)


def injected(module: nn.Module) -> nn.Module:
    config = peft.LoraConfig(target_modules=r".*b\.\d\.0", r=2)
    return peft.inject_adapter_in_model(config, module)


def compiled_by_block(module: Any) -> nn.Module:
    tower = getattr(module, "model", module)
    tower.b = nn.ModuleList(torch.compile(block, backend="eager") for block in tower.b)
    return module


class Nested(nn.Module):
    """A wrapper of one's own, as DistributedDataParallel names its module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def distributed_in_peft(module: nn.Module) -> nn.Module:
    return wrapped_in_peft(Nested(Nested(module)))


def with_prompts(module: nn.Module) -> nn.Module:
    """Return the module as a PeftModel of prompts names it, with no `model` after `base_model`."""
    prompted = nn.Module()
    prompted.add_module("base_model", module)
    return prompted


WRAPS: dict[str, Callable[[Any], nn.Module]] = {
    "plain": lambda module: module,
    "compiled": lambda module: torch.compile(module, backend="eager"),
    "data parallel": nn.DataParallel,
    "PeftModel": wrapped_in_peft,
    "injected": injected,
    "blocks compiled": compiled_by_block,
    "compiled PeftModel": lambda module: torch.compile(wrapped_in_peft(module), backend="eager"),
    "PeftModel of a distributed module": distributed_in_peft,
    "prompts": with_prompts,
}


class Inside(nn.Module):
    """A tower whose own first part is called `model`, as those of language models are."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Tower()


def block_names(model: nn.Module) -> list[str]:
    """Return the names of the three blocks as they are in `named_modules()`."""
    return [name for name, _ in model.named_modules() if re.search(r"(^|\.)b\.\d$", name)]


@pytest.mark.parametrize("tower", [Tower, Inside])
@pytest.mark.parametrize("traced", WRAPS)
@pytest.mark.parametrize("trained", WRAPS)
def test_scores_of_a_wrapped_model_fit_any_other_wrapping(
    tower: Callable[[], nn.Module], traced: str, trained: str
) -> None:
    names = block_names(WRAPS[traced](tower()))
    multipliers = dict(zip(names, (0.5, 0.0, 2.0), strict=True))
    model = WRAPS[trained](tower())
    for weight in model.parameters():
        weight.requires_grad_(True)
    groups = training.param_groups(model, multipliers, rate=1.0)
    rates = {id(weight): group["lr"] for group in groups for weight in group["params"]}
    expected = {f"b.{k}.": rate for k, rate in enumerate((0.5, 0.0, 2.0))}
    for name, weight in model.named_parameters():
        inside = [rate for block, rate in expected.items() if block in f".{name}"[1:]]
        assert [rates[id(weight)]] == (inside or [1.0]), name
    assert len(rates) == len(list(model.parameters()))
    callback = training.gradient_scaling(model, multipliers)
    assert list(map(len, callback.weights.values())) == [
        sum(f"b.{k}." in name for name, _ in model.named_parameters()) for k in range(3)
    ]
    assert training.sizes_of(model, names).keys() == multipliers.keys()


def with_adapters(model: Any) -> nn.Module:
    return peft.get_peft_model(model, peft.LoraConfig(target_modules=["query", "value"], r=2))


BERTS: dict[str, Callable[[Any], nn.Module]] = {
    "plain": lambda model: model,
    "PeftModel": with_adapters,
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "compiled PeftModel": lambda model: torch.compile(with_adapters(model), backend="eager"),
}


@functools.cache
def traced_multipliers(name: str) -> dict[str, float]:
    """Return the multiplier of each block of a small BERT, from a trace of it as it is wrapped."""
    encoder = negtrace.wrap(BERTS[name](bert().model), word_tokenizer(mask=True), name="wrapped")
    cte = negtrace.trace(encoder, negtrace.radiology_pairs()[:8], direction="noising")
    return training.multipliers(negtrace.layer_scores(cte, "transport"))


# peft asks transformers by a name that is to be removed.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize("traced", BERTS)
@pytest.mark.parametrize("trained", BERTS)
def test_scores_traced_on_a_wrapped_model_reach_the_blocks_of_any_other(
    traced: str, trained: str
) -> None:
    """The blocks are told apart by the modules themselves, not by their names."""
    multipliers = traced_multipliers(traced)
    assert len(set(multipliers.values())) == 3
    bare: Any = bert().model
    blocks = list(bare.encoder.layer)
    model = BERTS[trained](bare)
    groups = training.param_groups(model, multipliers, rate=2.0)
    rates = {id(weight): group["lr"] for group in groups for weight in group["params"]}
    for block, multiplier in zip(blocks, multipliers.values(), strict=True):
        own = [rates.pop(id(weight)) for weight in block.parameters() if weight.requires_grad]
        count = 4 if "Peft" in trained else 16  # A and B of two maps, or all of the block
        assert own == [2.0 * multiplier] * count
    assert set(rates.values()) == (set() if "Peft" in trained else {2.0})  # outside the blocks


def test_two_blocks_that_differ_only_by_a_wrapper_are_refused() -> None:
    twice = nn.ModuleDict({"text": Nested(Tower()), "image": Tower()})
    twice["text"].b = Tower().b
    blocks = [f"text.b.{k}" for k in range(3)]
    with pytest.raises(FinetuneError, match=r"text\.b\.0 may be text\.b\.0 or text\.module\.b\.0"):
        training.sizes_of(twice, blocks)
    with pytest.raises(FinetuneError, match=r"b\.0 may be b\.0 or module\.b\.0"):
        training.sizes_of(Tower(), ["b.0", "module.b.0"])


def test_peft_finds_the_blocks_of_a_wrapped_trace_in_an_unwrapped_model() -> None:
    names = ["base_model.model._orig_mod.b.0", "base_model.model._orig_mod.b.1", "module.b.2"]
    options = training.peft_patterns(dict(zip(names, (0.25, 0.0, 2.0), strict=True)), rank=8)
    for model in (Tower(), compiled_by_block(Tower()), nn.ModuleDict({"text": Nested(Tower())})):
        config = peft.LoraConfig(target_modules=r".*b\.\d\.(_orig_mod\.)?0", **options)
        adapted = peft.LoraModel(model, {"default": config}, "default")
        ranks = {
            re.search(r"b\.(\d)", name)[1]: module.r["default"]
            for name, module in adapted.named_modules()
            if isinstance(module, peft.tuners.lora.Linear)
        }
        assert ranks == {"0": 2, "2": 16}


def test_a_block_is_not_confused_with_one_whose_name_begins_alike() -> None:
    tower = nn.ModuleDict({"b1": nn.Linear(2, 2), "b10": nn.Linear(3, 3)})
    assert training.sizes_of(tower, ("b1", "b10")) == {"b1": 6, "b10": 12}


def trainer(tower: Tower, folder: Path, **options: Any) -> transformers.Trainer:
    args = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=3,
        per_device_train_batch_size=4,
        learning_rate=0.01,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    if multipliers := options.pop("multipliers", None):
        options["optimizers"] = training.optimizers(tower, multipliers, args)
    made = transformers.Trainer(tower, args, train_dataset=Numbers(), **options)
    made.remove_callback(transformers.PrinterCallback)
    made.train()
    return made


def moves(tower: Tower) -> dict[str, float]:
    before = Tower()
    return {
        name: sum((w - v).norm().item() for w, v in zip(block.parameters(), own, strict=True))
        for name, block in (("b.0", tower.b[0]), ("b.1", tower.b[1]), ("b.2", tower.b[2]))
        for own in [list(before.get_submodule(name).parameters())]
    }


def test_a_trainer_takes_the_optimizer(tmp_path: Path) -> None:
    tower = Tower()
    made = trainer(tower, tmp_path, multipliers=MULTIPLIERS)
    assert type(made.optimizer.optimizer).__name__ == "AdamW"
    moved = moves(tower)
    assert moved["b.1"] == 0
    assert 0 < moved["b.0"] < moved["b.2"]


def test_a_trainer_takes_the_callback_and_adam_gives_a_warning(tmp_path: Path) -> None:
    tower = Tower()
    with pytest.warns(NegtraceWarning, match=r"Adam family.* use mode='lr', or SGD"):
        trainer(tower, tmp_path, callbacks=[training.gradient_scaling(tower, MULTIPLIERS)])
    moved = moves(tower)
    assert moved["b.1"] == 0
    assert moved["b.0"] == pytest.approx(moved["b.2"], rel=0.5)  # the Adam trap


def test_peft_takes_a_rank_for_each_block() -> None:
    encoder = clip()
    multipliers = dict(zip(encoder.block_names, (0.25, 0.0, 1.75), strict=True))
    options = training.peft_patterns(multipliers, rank=8, alpha=16.0)
    config = peft.LoraConfig(target_modules=r"text_model.*\.(q_proj|fc1)", **options)
    adapted = peft.LoraModel(encoder.model, {"default": config}, "default")
    ranks = {
        name.split(".")[4]: (module.r["default"], module.scaling["default"])
        for name, module in adapted.named_modules()
        if isinstance(module, peft.tuners.lora.Linear)
    }
    assert ranks == {"0": (2, 2.0), "2": (14, 2.0)}


def test_the_multipliers_are_written_as_csv(tmp_path: Path) -> None:
    path = training.write_multipliers(MULTIPLIERS, tmp_path / "multipliers.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert {row["block"]: float(row["scale"]) for row in rows} == MULTIPLIERS


@pytest.fixture
def document(tmp_path: Path) -> Path:
    return write_json(results.noisy(pairs=3), tmp_path / "cte.json", resamples=50)


def test_multipliers_are_read_from_a_json_and_an_unstable_ranking_gives_a_warning(
    document: Path,
) -> None:
    with pytest.warns(NegtraceWarning, match=r"nast: ranking NOT stable: .*rank stability 0\.\d+"):
        multipliers = training.read_multipliers(
            document, "nast", training.Scored(floor=0.0), equal_budget=False
        )
    stored = json.loads(document.read_text())["layer_scores"]
    alpha = next(one["alpha"] for one in stored if one["method"] == "nast")
    assert list(multipliers.values()) == pytest.approx(alpha)
    assert list(multipliers) == ["blocks.0", "blocks.1", "blocks.2"]


@pytest.mark.filterwarnings("ignore::negtrace.errors.NegtraceWarning")
def test_scores_that_need_other_sites_are_refused(document: Path) -> None:
    with pytest.raises(CTEError, match=r"layer score 'component' needs .* attn_out, mlp_out"):
        training.read_multipliers(document, "component")


def json_only_groups(model: nn.Module, path: Path, method: str, rate: float) -> list[dict]:
    """Return param groups as a training script without negtrace makes them."""
    document = json.loads(path.read_text())
    blocks = document["axes"]["layers"][1:]
    score = next(one for one in document["layer_scores"] if one["method"] == method)
    alpha = dict(zip(blocks, score["alpha"], strict=True))
    groups = {name: {"params": [], "lr": rate * scale} for name, scale in alpha.items()}
    for name, weight in model.named_parameters():
        block = next((b for b in blocks if name.startswith(b + ".")), None)
        if block:
            groups[block]["params"].append(weight)
    return list(groups.values())


def open_clip_json(folder: Path) -> tuple[Encoder, Path]:
    encoder = native("open_clip")
    cte = negtrace.trace(encoder, negtrace.radiology_pairs()[:8], direction="noising")
    return encoder, write_json(cte, folder / "noising.json", resamples=20)


def test_a_loop_of_open_clip_needs_only_the_json(tmp_path: Path) -> None:
    encoder, path = open_clip_json(tmp_path)
    model, before = encoder.model, weights(encoder)
    library = open_clip()
    tokens = library.SimpleTokenizer(context_length=20)(["no edema", "some edema"] * 2)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    loss_of = library.ClipLoss()
    optimizer = torch.optim.AdamW(json_only_groups(model, path, "nast", 1e-3), weight_decay=0.0)
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        image, text, scale = model(images, tokens)
        loss_of(image, text, scale).backward()
        optimizer.step()
    scores = json.loads(path.read_text())["layer_scores"]
    alpha = next(one["alpha"] for one in scores if one["method"] == "nast")
    moved = [
        any(
            not before[name].equal(weight)
            for name, weight in model.named_parameters()
            if name.startswith(f"{block}.")
        )
        for block in encoder.block_names
    ]
    assert moved == [value > 0 for value in alpha]
