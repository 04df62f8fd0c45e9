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

from negtrace._json import violation
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

MODULES = "torch.nn.modules."
ACTIVATIONS = (
    "CELU",
    "ELU",
    "GELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
)
"""Activations of a Dense module, each a class of `torch.nn` that acts on every number alone."""

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


_OBJECT = {"type": "object"}
_SIZE = {"type": "integer", "minimum": 1}
_BOUND = {"type": ["integer", "null"], "minimum": 1}
_NAME = {"type": ["string", "null"]}
_FLAG = {"type": ["boolean", "null"]}

_POOLING: dict[str, Any] = {
    "type": "object",
    "properties": {
        "pooling_mode": {"type": ["string", "array", "null"], "items": {"type": "string"}},
    },
}
_MODEL: dict[str, Any] = {
    "type": "object",
    "properties": {
        "prompts": {"type": ["object", "null"], "additionalProperties": _NAME},
        "default_prompt_name": _NAME,
        "truncate_dim": _BOUND,
    },
}
_TRANSFORMER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "max_seq_length": _BOUND,
        "do_lower_case": _FLAG,
        "modality_config": {"type": ["object", "null"], "properties": {"text": _OBJECT}},
    },
}
_DENSE: dict[str, Any] = {
    "type": "object",
    "required": ["in_features", "out_features"],
    "properties": {
        "in_features": _SIZE,
        "out_features": _SIZE,
        "bias": _FLAG,
        "use_residual": _FLAG,
        "activation_function": {"type": "string"},
    },
}


def _checked(read: Read, path: str, schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the content of a file that sentence-transformers writes; None where there is none.

    Raises:
        EncoderError: when it is not as that library writes it.
    """
    content = read(path)
    if content is None:
        return None
    if broken := violation(content, schema):
        where, what = broken
        raise EncoderError(
            f"its {path} is not as sentence-transformers writes it: {excerpt(what)} at {where}; "
            "download or save the model again"
        )
    checked: dict[str, Any] = content
    return checked


def sentence_settings(read: Read) -> SentenceSettings | None:
    """Return the settings of a sentence-transformers model; None for any other model.

    None also where modules.json names no pooling, as for a dual encoder.

    Raises:
        EncoderError: for a module or a setting that is not supported; it says the way out.
    """
    modules = _modules(read("modules.json"))
    config = _checked(read, SENTENCE_CONFIG, _MODEL) or {}
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
    if (pooling := _checked(read, f"{modules[1]['path']}/config.json", _POOLING)) is None:
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
    if kind == "SentenceTransformer" and "sentence_transformers" in (
        _checked(read, "config.json", _OBJECT) or {}
    ):
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
    files = (_checked(read, file, _TRANSFORMER) for file in TRANSFORMER_FILES)
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
        schema = _DENSE if kind == "Dense" else _OBJECT
        config = _checked(read, f"{path}/config.json", schema)
        if config is None:
            if kind == "Dense":
                raise EncoderError(
                    f"its modules.json names the folder {excerpt(path)}, which holds no "
                    "config.json of the Dense module; download or save the model again"
                )
            config = {}
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
    package, _, name = activation.rpartition(".")
    if name not in ACTIVATIONS or not (package == "torch.nn" or package.startswith(MODULES)):
        raise EncoderError(
            f"its Dense module has the activation {excerpt(activation)}; expected one of torch.nn "
            f"that needs no argument: {', '.join(ACTIVATIONS)}. {WAY_OUT}"
        )
    return DenseSettings(
        path=path,
        in_features=int(config["in_features"]),
        out_features=int(config["out_features"]),
        bias=bool(config.get("bias", True)),
        activation=name,
        residual=bool(config.get("use_residual", False)),
    )
