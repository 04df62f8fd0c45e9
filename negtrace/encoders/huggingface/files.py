"""Files of a Hugging Face model, in a folder or on the hub, each read with a clear error."""

__all__ = ["ModelFiles", "holds_whole_weights", "two_kinds_of_weights", "without_videos"]

import difflib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)
from transformers.processing_utils import ProcessorMixin
from transformers.utils import cached_file, is_torchvision_available
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import extract_commit_hash

from negtrace._files import exists, is_folder, write_bytes
from negtrace._json import parse_json
from negtrace._messages import short
from negtrace.encoders.guard import reason_of
from negtrace.encoders.huggingface.inside import require_inside, require_shards_inside
from negtrace.encoders.huggingface.sentence_transformers import (
    SENTENCE_CONFIG,
    TRANSFORMER_FILES,
)
from negtrace.encoders.huggingface.weights import LoadedModel
from negtrace.errors import EncoderError

T = TypeVar("T")

Purpose = Literal["embedding", "language", "vision-language"]
AUTO: dict[Purpose, Any] = {
    "embedding": transformers.AutoModel,
    "language": transformers.AutoModelForCausalLM,
    "vision-language": transformers.AutoModelForImageTextToText,
}
HUB_NAME = re.compile(r"[.-]*\w[\w.-]*(/[.-]*\w[\w.-]*)?", re.ASCII)
"""A name on the hub; paths that lead upwards or start at a root are none. It matches in one way
only, so that a long name takes no longer than it is."""

ADAPTER = "adapter_config.json"
TOKENIZER = ("tokenizer", "vocab", "spiece", "sentencepiece")


def _require_hub_name(name: str) -> None:
    """Refuse what looks like a path, so that the hub is not asked for a folder's name.

    Raises:
        EncoderError: for anything but `model` or `owner/model`, and for an owner that is a folder
            here.
    """
    owner, slash, model = name.partition("/")
    if not HUB_NAME.fullmatch(name):
        reason = "a name on the hub is `model` or `owner/model`"
    elif slash and is_folder(Path(owner)):
        beside = sorted(path.name for path in Path(owner).iterdir() if path.is_dir())
        near = difflib.get_close_matches(model, beside, n=1)
        hint = f"; did you mean {owner}/{near[0]}?" if near else ""
        reason = f"there is a folder {owner}{hint}; if it is a name on the hub, call from elsewhere"
    else:
        return
    raise EncoderError(
        f"no folder {short(name)}, and the hub was not asked, since it looks like a path: {reason}"
    )


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """Files of one model, each read when it is asked for."""

    source: str
    """A folder, or a name on the hub."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    trust_remote_code: bool = False
    """Run code that comes with the model."""

    @property
    def name(self) -> str:
        """The hub's name in full, or the last part of a folder: the rest of a path is private."""
        return Path(self.source).resolve().name if self._local else self.source

    @property
    def _local(self) -> bool:
        return exists(Path(self.source))

    @cached_property
    def config(self) -> Any:
        """The configuration.

        Raises:
            EncoderError: for a folder that is not a whole model, or a configuration that cannot be
                read.
        """
        self._require_whole()
        config = self._read(transformers.AutoConfig, "config")
        if self.json(ADAPTER) is not None:
            raise EncoderError(two_kinds_of_weights(self.name))
        return config

    def _require_whole(self) -> None:
        """Refuse a folder that lacks files; transformers would look for them on the hub."""
        folder = Path(self.source)
        if not self._local:
            _require_hub_name(self.source)
            return
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        parts = {
            "config.json": "config.json" in names,
            "weights (model.safetensors)": holds_whole_weights(folder),
            "tokenizer files (tokenizer.json, ...)": any(n.startswith(TOKENIZER) for n in names),
        }
        if missing := [part for part, present in parts.items() if not present]:
            raise EncoderError(f"{self.name}: the folder lacks {', '.join(missing)}")
        require_shards_inside(self.name, folder)

    @property
    def purpose(self) -> Purpose:
        """Purpose of the model: to embed, to write text, or to write text about images."""
        architectures = set(getattr(self.config, "architectures", None) or ())
        if architectures & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
            return "language"
        writes = architectures & set(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values())
        return (
            "vision-language" if writes and hasattr(self.config, "image_token_id") else "embedding"
        )

    def has_method(self, name: str) -> bool:
        """Return whether the class of the embedding model has a method; no weights are read."""
        code = (getattr(self.config, "auto_map", None) or {}).get("AutoModel")
        if code and self.trust_remote_code:
            return hasattr(self._guarded("code", lambda: self._class_of(code)), name)
        classes = transformers.MODEL_MAPPING.get(type(self.config), ())
        return any(
            hasattr(each, name) for each in (classes if isinstance(classes, tuple) else (classes,))
        )

    def _class_of(self, code: str) -> type:
        model_class: type = get_class_from_dynamic_module(code, self.source, revision=self.revision)
        return model_class

    @cached_property
    def encoder_class(self) -> Any | None:
        """Class of the encoder alone, of a model such as T5; None where transformers has none."""
        whole = transformers.MODEL_MAPPING.get(type(self.config), None)
        name = getattr(whole, "__name__", "").removesuffix("Model")
        return getattr(transformers, f"{name}EncoderModel", None) if name else None

    def encoder(self, dtype: torch.dtype) -> LoadedModel:
        """Return the model as one that embeds texts: of a model such as T5, its encoder alone.

        Raises:
            EncoderError: as `model` does, and for any other model of encoder and decoder whose
                files are those of sentence-transformers.
        """
        if self.config.is_encoder_decoder and self.encoder_class is None:
            if self.json("modules.json") is not None:
                raise EncoderError(
                    f"{self.name}: a {self.config.model_type} with encoder and decoder, of which "
                    "transformers has no encoder alone; give it to negtrace.wrap(..., encode=...)"
                )
            return self.model(dtype)
        return self._loaded(self.encoder_class or AUTO["embedding"], dtype)

    def model(self, dtype: torch.dtype, purpose: Purpose = "embedding") -> LoadedModel:
        """Return the model, made for a purpose, in eval mode, with what its files lack.

        Raises:
            EncoderError: when its weights cannot be read, or have other sizes than config.json
                says.
        """
        return self._loaded(AUTO[purpose], dtype)

    def _loaded(self, auto: Any, dtype: torch.dtype) -> LoadedModel:
        with _without_progress_bars():
            # Weights of another size are refused below, by name.
            read = self._read(
                auto,
                "weights",
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
        # A class that comes with the model may ignore what it does not know.
        model, info = read if isinstance(read, tuple) else (read, {})
        if dtype == torch.float64:
            _make_double(model)
        if mismatched := sorted(info.get("mismatched_keys", ())):
            name, stored, expected = mismatched[0]
            raise EncoderError(
                f"{self.name}: {len(mismatched)} of its weights have another size than its "
                f"config.json says: {name} is {list(stored)}, and {list(expected)} was expected; "
                "give it the config.json that it was saved with"
            )
        return LoadedModel(
            model=model.eval(),
            missing=tuple(sorted(info.get("missing_keys", ()))),
            unexpected=tuple(sorted(info.get("unexpected_keys", ()))),
        )

    def processor(self) -> Any:
        """Return the processor, which reads texts and images together."""
        with without_videos():
            return self._read(transformers.AutoProcessor, "processor", backend="pil")

    def tokenizer(self) -> Any:
        """Return the tokenizer."""
        return self._read(transformers.AutoTokenizer, "tokenizer")

    def image_processor(self) -> Any | None:
        """Return the image processor; None where the model has none and reads texts only."""
        try:
            # The PIL backend needs no torchvision.
            return self._read(transformers.AutoImageProcessor, "image processor", backend="pil")
        except EncoderError:
            return None

    @property
    def commit(self) -> str | None:
        """The commit that a model on the hub was read at; None for a folder."""
        if self._local:
            return None
        path = cached_file(self.source, "config.json", revision=self.revision)
        return extract_commit_hash(path, None) or self.revision

    def json(self, path: str) -> Any | None:
        """Return the content of a JSON file of the model; None where there is no such file.

        Raises:
            EncoderError: when it cannot be read.
        """
        file = self._file(path)
        if file is None:
            return None
        try:
            return parse_json(Path(file).read_bytes(), foreign=True)
        except (OSError, ValueError) as error:
            raise EncoderError(
                f"{self.name}: cannot read its {path} ({error}); download or save the model again"
            ) from error

    def _file(self, path: str) -> str | None:
        require_inside(path, f"{self.name}: one of its files")
        file: str | None = cached_file(
            self.source,
            path,
            revision=self.revision,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        return file

    def tensors(self, path: str) -> dict[str, Tensor]:
        """Return the weights of a sentence-transformers module, from its folder.

        Raises:
            EncoderError: when it has none, or they cannot be read.
        """
        for name in ("model.safetensors", "pytorch_model.bin"):
            if (file := self._file(f"{path}/{name}")) is not None:
                return self._guarded(f"weights in {path}", partial(_tensors, file))
        raise EncoderError(f"{self.name}: the folder {path} lacks weights (model.safetensors)")

    def write_beside(self, model: Any, folder: Path) -> None:
        """Write changed weights as a whole model: with tokenizer, image processor and settings."""
        model.save_pretrained(folder)
        self.tokenizer().save_pretrained(folder)
        if (processor := self.image_processor()) is not None:
            processor.save_pretrained(folder)
        for module in self.json("modules.json") or ():
            if module["path"] and (config := self.json(f"{module['path']}/config.json")):
                path = folder / module["path"] / "config.json"
                write_bytes(path, json.dumps(config).encode())
        for name in ("modules.json", SENTENCE_CONFIG, *TRANSFORMER_FILES):
            if (content := self.json(name)) is not None:
                write_bytes(folder / name, json.dumps(content).encode())

    def _read(self, auto: Any, what: str, **options: Any) -> Any:
        """Read a part of the model with one of transformers' Auto classes."""
        return self._guarded(
            what,
            lambda: auto.from_pretrained(
                self.source,
                revision=self.revision,
                trust_remote_code=self.trust_remote_code,
                **options,
            ),
        )

    def _guarded(self, what: str, read: Callable[[], T]) -> T:
        """Return what `read` gives; raise an EncoderError that names the part it could not read."""
        try:
            return read()
        except Exception as error:  # a damaged file can raise anything
            reason = reason_of(error, longest=1000) or type(error).__name__
            raise EncoderError(f"{self.name}: cannot read its {what}: {reason}") from error


def _make_double(model: Any) -> None:
    """Turn what transformers leaves in float32 into float64."""
    for weight in model.parameters():  # XLNet names the precision of some weights
        weight.data = weight.data.double()
    if hasattr(model, "set_experts_implementation"):
        # The default, torch's grouped multiplication of experts, has no float64.
        model.set_experts_implementation("eager")


def _tensors(file: str) -> dict[str, Tensor]:
    if file.endswith(".safetensors"):
        stored: dict[str, Tensor] = load_file(file)
        return stored
    weights: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return weights


def holds_whole_weights(folder: Path) -> bool:
    """Return whether a folder holds the weights of a whole model, not only those of an adapter."""
    return folder.is_dir() and any(_is_whole(path.name) for path in folder.iterdir())


def _is_whole(name: str) -> bool:
    # A trainer writes its own settings and states as .bin too.
    if name.endswith(".bin"):
        return "pytorch_model" in name
    return name.endswith((".safetensors", ".index.json")) and not name.startswith("adapter_model")


def two_kinds_of_weights(name: str) -> str:
    """Return why a model with whole weights and an adapter is refused.

    transformers would add the adapter to the whole weights by itself. Where the weights are those
    of the merged model, as `merge_and_unload` leaves them, the adapter would count twice.
    """
    return (
        f"{name} holds both whole weights and an adapter ({ADAPTER}), and does not say whether the "
        "adapter is already in the weights. If it is, move the adapter's files away; if it is not, "
        "move them into a folder of their own, and load that folder"
    )


@contextmanager
def without_videos() -> Iterator[None]:
    """Make processors without their part for videos where torchvision, which it needs, is missing.

    Only images are read here.
    """
    if is_torchvision_available():
        yield
        return
    whole = vars(ProcessorMixin)["get_attributes"]

    def attributes(kind: Any) -> list[str]:
        return [name for name in whole.__func__(kind) if name != "video_processor"]

    ProcessorMixin.get_attributes = classmethod(attributes)
    try:
        yield
    finally:
        ProcessorMixin.get_attributes = whole


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Keep transformers' progress bars out of notebooks and logs while it reads weights."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
