"""Settings of a sentence-transformers model: each one is followed, or refused by name.

The files are those that sentence-transformers writes beside a model of transformers: modules.json,
sentence_bert_config.json, config_sentence_transformers.json, and a folder for each module.
"""

__all__ = [
    "SENTENCE_CONFIG",
    "TRANSFORMER_FILES",
    "DenseSettings",
    "Pooling",
    "SentenceSettings",
    "sentence_settings",
]

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from negtrace._messages import excerpt
from negtrace.encoders.huggingface.inside import require_inside
from negtrace.errors import EncoderError

Pooling = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

FLAGS: dict[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Keys of older files, in the order in which sentence-transformers joins the parts."""

SENTENCE_CONFIG = "config_sentence_transformers.json"
TRANSFORMER_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
PLAIN = {"method": "forward", "method_output_name": "last_hidden_state"}
WAY_OUT = "Give the whole model to negtrace.wrap(..., encode=...)"

Read = Callable[[str], Any | None]
"""Returns the content of a JSON file of the model, None where there is no such file."""


@dataclass(frozen=True, kw_only=True)
class DenseSettings:
    """Linear map of an embedding, followed by an activation: activation(x W' + b) [+ x R']."""

    path: str
    """Folder of its weights."""
    in_features: int
    out_features: int
    bias: bool
    activation: str
    """Class of `torch.nn`, by its name there."""
    residual: bool
    """Add the input, through a matrix R where the sizes differ."""


@dataclass(frozen=True, kw_only=True)
class SentenceSettings:
    """Way from a text to its embedding.

    Raises:
        EncoderError: for a combination that cannot be traced.
    """

    pooling: tuple[Pooling, ...] = ("mean",)
    """Poolings of the token states, joined in this order."""
    prompt: str = ""
    """Text before every statement and every text anchor."""
    pool_prompt: bool = True
    """Pool the tokens of the prompt too."""
    lower_case: bool = False
    """Lower-case every text."""
    max_tokens: int | None = None
    """Tokens of the longest text; a longer one is refused. None for the model's own bound."""
    after_pooling: tuple[DenseSettings | Literal["normalize"], ...] = field(default=())
    """Steps behind the pooling. A last normalization is left out, since no cosine shows it."""
    truncate_dim: int | None = None
    """Number of coordinates of the embedding that are kept, from the first on."""

    def __post_init__(self) -> None:
        if self.prompt and not self.pool_prompt and "cls" in self.pooling:
            raise EncoderError(
                "it pools by cls behind a prompt (include_prompt is false), so it reads a token "
                f"of the statement itself. {WAY_OUT}"
            )


def sentence_settings(read: Read) -> SentenceSettings | None:
    """Return the settings of a sentence-transformers model; None for any other model.

    None also where modules.json names no pooling, as for a dual encoder.

    Raises:
        EncoderError: for a module or a setting that is not supported; it says the way out.
    """
    modules = _modules(read("modules.json"))
    config = read(SENTENCE_CONFIG) or {}
    _require_embedding(config, read)
    # A class of the model's own may have the name of a known one, and do something else.
    kinds = [
        kind.rsplit(".", 1)[-1] if kind.startswith("sentence_transformers.") else kind
        for kind in (module["type"] for module in modules)
    ]
    for kind in kinds:
        if kind not in {"Transformer", "Pooling", "Dense", "Normalize", "Dropout"}:
            raise EncoderError(
                f"a sentence-transformers module {kind!r}; expected Transformer, Pooling, Dense, "
                f"Normalize or Dropout. {WAY_OUT}"
            )
    if "Pooling" not in kinds:
        return None
    if kinds[:2] != ["Transformer", "Pooling"] or kinds.count("Pooling") > 1:
        raise EncoderError(
            f"its sentence-transformers modules are {', '.join(kinds)}; expected Transformer, "
            f"one Pooling, and then Dense or Normalize. {WAY_OUT}"
        )
    if (pooling := read(f"{modules[1]['path']}/config.json")) is None:
        raise EncoderError(
            f"its modules.json names the folder {excerpt(modules[1]['path'])}, which holds no "
            "config.json of the pooling; download or save the model again"
        )
    later = [(kind, module["path"]) for kind, module in zip(kinds, modules, strict=True)][2:]
    return SentenceSettings(
        pooling=_poolings(pooling),
        prompt=_prompt(config),
        pool_prompt=bool(pooling.get("include_prompt", True)),
        after_pooling=_steps(later, read),
        truncate_dim=config.get("truncate_dim"),
        **_transformer(modules[0]["path"], read),
    )


def _modules(listing: Any) -> list[dict[str, Any]]:
    """Return the modules of a modules.json, each with its type and its folder in the model.

    Raises:
        EncoderError: for anything else, and for a folder elsewhere.
    """
    modules: list[dict[str, Any]] = listing or []
    if not isinstance(modules, list) or not all(
        isinstance(module, dict)
        and all(isinstance(module.get(key), str) for key in ("type", "path"))
        for module in modules
    ):
        raise EncoderError(
            "its modules.json is no list of modules with a type and a path each; download or save "
            "the model again"
        )
    for module in modules:
        require_inside(module["path"], "its modules.json")
    return modules


def _require_embedding(config: Mapping[str, Any], read: Read) -> None:
    """Refuse a model that scores pairs of texts, or makes sparse or several embeddings."""
    kind = config.get("model_type", "SentenceTransformer")
    if kind == "SentenceTransformer" and "sentence_transformers" in (read("config.json") or {}):
        kind = "CrossEncoder"
    if kind != "SentenceTransformer":
        raise EncoderError(
            f"a {kind} of sentence-transformers; expected a SentenceTransformer, which makes one "
            f"dense embedding of a text. {WAY_OUT}"
        )


def _poolings(config: Mapping[str, Any]) -> tuple[Pooling, ...]:
    """Return the poolings of a Pooling module: of its key, or else of its older flags."""
    named = config.get("pooling_mode")
    if named is None:
        named = [mode for key, mode in FLAGS.items() if config.get(key)] or ["mean"]
    named = (named,) if isinstance(named, str) else tuple(named)
    unknown = [mode for mode in named if mode not in POOLINGS]
    unknown += [k for k, on in config.items() if k.startswith("pooling_mode_") and k not in FLAGS]
    if unknown or not named:
        raise EncoderError(
            f"it pools by {', '.join(map(str, unknown)) or 'nothing'}; "
            f"expected {', '.join(POOLINGS)}. {WAY_OUT}"
        )
    return named


def _prompt(config: Mapping[str, Any]) -> str:
    """Return the prompt that `encode` of sentence-transformers puts before every text."""
    name, prompts = config.get("default_prompt_name"), config.get("prompts") or {}
    if name is None:
        return ""
    if name not in {**prompts, "query": "", "document": ""}:
        raise EncoderError(
            f"its default prompt is {name!r}, but {SENTENCE_CONFIG} holds "
            f"{', '.join(prompts) or 'no prompts'}; name one of them, or null for none"
        )
    return prompts.get(name) or ""


def _transformer(path: str, read: Read) -> dict[str, Any]:
    """Return the settings of the Transformer module."""
    if path:
        raise EncoderError(
            f"its transformer is in the folder {path}; move those files beside modules.json, and "
            'write "path": "" for it there'
        )
    files = (read(file) for file in TRANSFORMER_FILES)
    config: dict[str, Any] = next((content for content in files if content), {})
    known = {
        "max_seq_length",
        "do_lower_case",
        "unpad_inputs",
        "transformer_task",
        "modality_config",
        "module_output_name",
    }
    text = (config.get("modality_config") or {"text": PLAIN}).get("text", {})
    changed = [key for key, value in config.items() if value and key not in known]
    if config.get("transformer_task", "feature-extraction") != "feature-extraction":
        changed.append("transformer_task")
    if "message" in (config.get("modality_config") or {}) or any(
        text.get(key) != value for key, value in PLAIN.items()
    ):
        changed.append("modality_config")
    if changed:
        raise EncoderError(
            f"its Transformer module sets {', '.join(changed)}, which is not supported; expected "
            f"max_seq_length and do_lower_case only. {WAY_OUT}"
        )
    return {
        "lower_case": bool(config.get("do_lower_case", False)),
        "max_tokens": config.get("max_seq_length"),
    }


def _steps(
    modules: list[tuple[str, str]], read: Read
) -> tuple[DenseSettings | Literal["normalize"], ...]:
    steps: list[DenseSettings | Literal["normalize"]] = []
    for kind, path in modules:
        config = read(f"{path}/config.json") or {}
        names = {config.get("module_input_name"), config.get("module_output_name")}
        if not names <= {None, "sentence_embedding"}:
            raise EncoderError(
                f"its {kind} module does not act on the sentence embedding alone. {WAY_OUT}"
            )
        if kind == "Dense":
            steps.append(_dense(path, config))
        elif kind == "Normalize":
            steps.append("normalize")
    while steps and steps[-1] == "normalize":
        steps.pop()
    return tuple(steps)


def _dense(path: str, config: Mapping[str, Any]) -> DenseSettings:
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    if not activation.startswith("torch.nn.modules."):
        raise EncoderError(
            f"its Dense module has the activation {activation!r}; expected one of torch.nn. "
            f"{WAY_OUT}"
        )
    return DenseSettings(
        path=path,
        in_features=int(config["in_features"]),
        out_features=int(config["out_features"]),
        bias=bool(config.get("bias", True)),
        activation=activation.rsplit(".", 1)[-1],
        residual=bool(config.get("use_residual", False)),
    )
