"""Case: one class of transformers, loaded, checked, traced, and compared with the oracle."""

__all__ = ["LIMITS", "Outcome", "examine"]

import re
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from catalogue import Entry
from narrowed import Narrowed
from oracle import Ids, Oracle, Place, Scorer
from tiny import build
from words import ANCHOR, CONTRASTS, tokenizer

import negtrace
from negtrace import Anchor, Pair
from negtrace.encoders import Encoder
from negtrace.encoders.huggingface.causal_lm import CausalLanguageModel
from negtrace.encoders.huggingface.dual import DualEncoder
from negtrace.errors import NegtraceError
from negtrace.tracing import check

Verdict = Literal["exact", "refused", "wrong", "crash", "not built"]

OWN_STAGES = ("build", "run", "save", "reload")
"""Steps without negtrace."""

LIMITS = {"float64": 1e-9, "float32": 1e-5}
"""Largest gap between two scores that counts as none, in units of |d|, by precision."""

ROUNDING = 16
"""Units of rounding of the score's own terms that are allowed besides, where |d| is tiny."""

INNER = ("attn_out", "mlp_out")

RUNS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "short, noising": ("short", "noising", ("resid", "resid_pre", *INNER, "head")),
    "short, denoising": ("short", "denoising", ("resid",)),
    "long, noising": ("long", "noising", ("resid", "resid_pre", *INNER, "head")),
    "long, denoising": ("long", "denoising", ("resid",)),
}
"""Contrast, direction and kinds of sites of each trace."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result for one class."""

    name: str
    class_name: str
    verdict: Verdict
    dtype: str = ""
    """Precision of the weights and of the states."""
    precision: str = ""
    """Precision that the model's own code computes in."""
    message: str = ""
    """Reason for any verdict but exact."""
    stage: str = ""
    """What was done when the verdict fell: build, load, check, or a trace."""
    gap: float | None = None
    """Largest gap of any score, in units of |d|."""
    limit: float | None = None
    """Largest gap that counts as none, in units of |d|."""
    cells: int = 0
    """Cells that were compared."""
    tokens: tuple[int, ...] = ()
    """Tokens of the runs that were traced."""
    sites: tuple[str, ...] = ()
    blocks: int = 0
    check_s: float | None = None
    """Seconds of the self-check."""
    trace_s: float | None = None
    """Seconds of the traces."""
    oracle_s: float | None = None
    d: dict[str, float] = field(default_factory=dict)
    """Clean score minus corrupt score of each contrast."""


class Fallen(Exception):  # noqa: N818
    """A verdict other than exact, reached at a stage."""

    def __init__(self, verdict: Verdict, stage: str, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.outcome = {"verdict": verdict, "stage": stage, "message": _short(message), **facts}


def _short(message: str) -> str:
    return re.sub(r"https?://\S+", "its page", " ".join(message.split()))[:400]


def examine(entry: Entry, tell: Callable[[str], object] = str) -> Outcome:
    """Return the result for a class; whatever it raises is in the result.

    Args:
        entry: the class.
        tell: is told the stage that begins.
    """
    facts: dict[str, Any] = {"name": entry.name, "class_name": entry.class_name}
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")
            _examine(entry, Path(folder) / "tiny", facts, tell)
    except Fallen as fallen:
        return Outcome(**facts | fallen.outcome)
    return Outcome(**facts, verdict="exact")


def _examine(
    entry: Entry, folder: Path, facts: dict[str, Any], tell: Callable[[str], object]
) -> None:
    """Fill in the facts of a class, or raise `Fallen`."""
    tell("build")
    model = _own(lambda: _built(entry), "build")
    tell("run")
    facts["dtype"], facts["precision"] = _own(lambda: _precisions(model, entry), "run")
    tell("save")
    _own(lambda: _save(model, entry, folder), "save")
    tell("reload")
    again = _own(lambda: _reloaded(entry, folder, facts["dtype"]), "reload")
    tell("load")
    encoder = _theirs(lambda: _loaded(entry, folder, facts["dtype"], again), "load")
    facts["blocks"] = len(encoder.blocks)
    tell("check")
    start = time.perf_counter()
    report = _theirs(lambda: check(encoder), "check")
    facts["check_s"] = round(time.perf_counter() - start, 3)
    _theirs(report.require, "check")
    tell("trace")
    with torch.inference_mode():
        _compare(encoder, entry, facts)


def _own(step: Callable[[], Any], stage: str) -> Any:
    """Return what a step without negtrace gives; where it fails, the class is not built."""
    try:
        return step()
    except Exception as error:  # a class that is built tiny can raise anything
        raise Fallen("not built", stage, f"{type(error).__name__}: {error}") from error


def _theirs(step: Callable[[], Any], stage: str) -> Any:
    """Return what a step of negtrace gives; an error of its own is a refusal."""
    try:
        return step()
    except NegtraceError as error:
        raise Fallen("refused", stage, str(error)) from error
    except Exception as error:
        raise Fallen("crash", stage, f"{type(error).__name__}: {error}") from error


def _built(entry: Entry) -> Any:
    return build(entry.model_class, decoder=entry.kind == "decoder")


def _tokenizer(entry: Entry) -> Any:
    return tokenizer("$A [EOS]" if "t5" in entry.model_type else "[BOS] $A [EOS]")


def _precisions(model: Any, entry: Entry) -> tuple[str, str]:
    """Return the widest precision that a model runs in, and the one that its own code computes in.

    The second is float32 where the code turns states of float64 into float32.
    """
    for dtype in ("float64", "float32"):
        model.to(getattr(torch, dtype))
        if dtype == "float64":
            # torch's grouped multiplication of experts has no float64.
            model.set_experts_implementation("eager")
        try:
            with torch.inference_mode(), Narrowed() as narrowed:
                for texts in CONTRASTS.values():
                    for text in texts:
                        _embedding(model, entry, _tokenizer(entry)(text).input_ids)
        except RuntimeError:
            if dtype == "float32":
                raise
        else:
            return dtype, "float32" if narrowed.found else dtype
    raise AssertionError


def _reloaded(entry: Entry, folder: Path, dtype: str) -> Any:
    """Return the saved model as transformers itself loads it."""
    auto = transformers.AutoModelForCausalLM if entry.kind == "decoder" else transformers.AutoModel
    return auto.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()


def _loaded(entry: Entry, folder: Path, dtype: str, again: Any) -> Encoder:
    """Return the encoder of a saved model.

    Some models have a tokenizer of their own, with which transformers would read the small one.
    These get the model and the tokenizer by hand.
    """
    words = _tokenizer(entry)
    read = transformers.AutoTokenizer.from_pretrained(folder)
    if read(ANCHOR).input_ids != words(ANCHOR).input_ids:
        if dtype == "float64":
            again.set_experts_implementation("eager")
        if entry.kind == "decoder":
            return CausalLanguageModel(again, words, name="tiny")
        if entry.kind == "dual encoder":
            return DualEncoder(again, words, None, name="tiny")
    alone = entry.class_name.endswith("EncoderModel") and again.config.is_encoder_decoder
    read_out = {"read_out": "mean"} if alone else {}
    return negtrace.load(folder, name="tiny", dtype=dtype, self_check=False, **read_out)


def _save(model: Any, entry: Entry, folder: Path) -> None:
    model.save_pretrained(folder)
    _tokenizer(entry).save_pretrained(folder)


def _embedding(model: Any, entry: Entry, ids: Ids) -> torch.Tensor:
    """Return the embedding of a row, or the logits of its answers, by the model's own forward."""
    row = torch.tensor([list(ids)])
    if entry.kind == "decoder":
        words = _tokenizer(entry)
        answers = words.convert_tokens_to_ids(["yes", "no"])
        return model(input_ids=row).logits[0, -1, answers]
    if entry.kind == "text encoder":
        return model(input_ids=row)[0].mean(dim=1)[0]
    output = model.get_text_features(input_ids=row)
    features = output if isinstance(output, torch.Tensor) else output.pooler_output
    return features[0, 0] if features.ndim == 3 else features[0]


def _scorer(encoder: Encoder, entry: Entry) -> Scorer:
    """Return the score of a row: difference of two logits, or cosine to the anchor, scaled."""
    model: Any = encoder.model
    if entry.kind == "decoder":

        def difference(ids: Ids) -> tuple[float, float]:
            yes, no = _embedding(model, entry, ids).double().tolist()
            return yes - no, max(abs(yes), abs(no))

        return difference
    anchor = _embedding(model, entry, encoder.tokenize([ANCHOR])[0].ids)
    scale, bias = _scale_of(model) if entry.kind == "dual encoder" else (1.0, 0.0)

    def cosine(ids: Ids) -> tuple[float, float]:
        text = _embedding(model, entry, ids)
        score = scale * float(text @ anchor / (text.norm() * anchor.norm())) + bias
        return score, scale + abs(bias)

    return cosine


def _scale_of(model: Any) -> tuple[float, float]:
    if hasattr(model, "temperature"):
        return 1 / float(model.temperature), 0.0
    scale = model.logit_scale if hasattr(model, "logit_scale") else model.logit_scale_t
    bias = getattr(model, "logit_bias", None)
    return float(scale.double().exp()), 0.0 if bias is None else float(bias)


def _offered(encoder: Encoder, stage: str) -> dict[str, Sequence[Place]]:
    """Return the sites inside the blocks that the encoder offers, with their places."""
    places: dict[str, Sequence[Place]] = {}
    for site in INNER:
        try:
            found = encoder.hook_sites([site])
        except NegtraceError:
            continue
        places[site] = [Place(module=each.module, at=each.at) for each in found]
    heads = _theirs(lambda: encoder.heads, stage)
    if heads:
        try:
            found = encoder.hook_sites(["head"])
        except NegtraceError:
            return places
        for head in {0, heads - 1}:
            places[f"head.{head}"] = [_head(each.module, head, heads) for each in found]
    return places


def _head(module: Any, head: int, heads: int) -> Place:
    weight = module.weight
    # GPT-2 keeps its linear maps as [in, out].
    width = weight.shape[0] if type(module).__name__ == "Conv1D" else weight.shape[1]
    each = width // heads
    return Place(module=module, at="input", part=slice(head * each, (head + 1) * each))


def _compare(encoder: Encoder, entry: Entry, facts: dict[str, Any]) -> None:
    """Trace every run and compare each of its scores with the oracle's."""
    inner = _offered(encoder, "sites")
    facts["sites"] = ("resid", "resid_pre", *inner)
    oracle = Oracle(scorer=_scorer(encoder, entry), blocks=encoder.blocks, inner=inner)
    facts |= {"trace_s": 0.0, "oracle_s": 0.0, "gap": 0.0, "d": {}}
    fallen: list[Fallen] = []
    for stage, (contrast, direction, kinds) in RUNS.items():
        sites = [site for site in facts["sites"] if site.split(".")[0] in kinds]
        pair = _pair(contrast)
        try:
            start = time.perf_counter()
            cte = _theirs(
                partial(
                    negtrace.trace,
                    encoder,
                    [pair],
                    direction=direction,
                    sites=sites,
                    progress=False,
                ),
                stage,
            )
            facts["trace_s"] = round(facts["trace_s"] + time.perf_counter() - start, 3)
            start = time.perf_counter()
            _judge(cte, oracle, encoder, pair, stage, facts)
            facts["oracle_s"] = round(facts["oracle_s"] + time.perf_counter() - start, 3)
        except Fallen as error:
            fallen.append(error)
    if fallen:
        order = ["wrong", "crash", "not built", "refused"]
        raise min(fallen, key=lambda each: order.index(each.outcome["verdict"]))
    _require_names(encoder, inner)


def _pair(contrast: str) -> Pair:
    true, false = CONTRASTS[contrast]
    return Pair(true=true, false=false, anchor=Anchor(text=ANCHOR), id=contrast)


def _judge(
    cte: Any, oracle: Oracle, encoder: Encoder, pair: Pair, stage: str, facts: dict[str, Any]
) -> None:
    """Compare a trace with the oracle; raise `Fallen` when a score is wrong."""
    rows = encoder.tokenize_against([pair.true, pair.false], [pair.anchor] * 2)
    true, false = (row.ids for row in rows)
    noising = cte.direction == "noising"
    base, source = (true, false) if noising else (false, true)
    base_score, source_score, cells = _own(
        lambda: oracle.cells(base, source, cte.sites), f"oracle, {stage}"
    )
    clean, corrupt = (base_score, source_score) if noising else (source_score, base_score)
    d = clean - corrupt
    facts["d"][pair.id] = d
    facts["tokens"] = tuple(dict.fromkeys((*facts.get("tokens", ()), len(base))))
    patched = cte.patched[0]
    if patched.shape != cells.shape or (np.isnan(patched) != np.isnan(cells)).any():
        raise Fallen("wrong", stage, f"cells {patched.shape} are not those of the pair")
    gaps = np.abs(patched - cells) / abs(d)
    whole = max(abs(cte.clean[0] - clean), abs(cte.corrupt[0] - corrupt)) / abs(d)
    largest = float(max(np.nanmax(gaps), whole))
    facts["gap"] = max(facts["gap"], largest)
    facts["cells"] = facts.get("cells", 0) + int((~np.isnan(cells)).sum())
    rounding = ROUNDING * torch.finfo(getattr(torch, facts["precision"])).eps
    limit = LIMITS[facts["precision"]] + rounding * oracle.magnitude(base) / abs(d)
    facts["limit"] = max(facts.get("limit", 0.0), limit)
    if not largest <= limit:
        site, layer, token = np.unravel_index(int(np.nanargmax(gaps)), gaps.shape)
        raise Fallen(
            "wrong",
            stage,
            f"{largest:.2g} d at {cte.sites[site]}, layer {layer}, token {token} of {len(base)}; "
            f"{(gaps > limit).sum()} of {(~np.isnan(cells)).sum()} cells",
        )


NO_ATTENTION = ("conv", "linear", "mamba", "recurrent", "ssm", "slstm", "mlstm", "gated_delta")
"""Parts of the names of layers and modules that mix tokens, but not by attention."""


def _require_names(encoder: Encoder, inner: dict[str, Sequence[Place]]) -> None:
    """Raise `Fallen` when a site called attention is something else."""
    if "attn_out" not in inner:
        return
    names = {id(module): name for name, module in encoder.model.named_modules()}
    config = getattr(encoder.model.config, "get_text_config", lambda: encoder.model.config)()
    kinds = getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None)
    for layer, place in enumerate(inner["attn_out"]):
        kind = str(kinds[layer]) if kinds and layer < len(kinds) else ""
        made = f"{names[id(place.module)]} {type(place.module).__name__}"
        # A norm may stand behind attention; then it is what the block adds.
        fits = _is_attention(made) or "norm" in made.lower()
        if any(part in kind for part in NO_ATTENTION) or not fits:
            raise Fallen(
                "wrong", "names", f"attn_out of layer {layer + 1} ({kind or 'attention'}) is {made}"
            )


def _is_attention(made: str) -> bool:
    lower = made.lower().replace("encoder", "")
    return any(part in lower for part in ("attention", "attn", "_attend"))
