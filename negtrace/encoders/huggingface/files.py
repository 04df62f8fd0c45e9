"""The files of a Hugging Face model, in a folder or on the hub, each read with a clear error."""

__all__ = ["Kind", "ModelFiles"]

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import extract_commit_hash

from negtrace._files import write_bytes
from negtrace.errors import EncoderError

Kind = Literal["embedding", "language", "vision-language"]
AUTO: dict[Kind, Any] = {
    "embedding": transformers.AutoModel,
    "language": transformers.AutoModelForCausalLM,
    "vision-language": transformers.AutoModelForImageTextToText,
}
WEIGHTS = (".safetensors", ".bin", ".index.json")
TOKENIZER = ("tokenizer", "vocab", "spiece", "sentencepiece")


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """Where a model's files are, and what may be done with them."""

    source: str
    """A folder, or a name on the hub."""
    revision: str | None = None
    trust_remote_code: bool = False

    @property
    def name(self) -> str:
        """A hub name whole, of a folder its last part alone: paths are private."""
        return Path(self.source).resolve().name if Path(self.source).exists() else self.source

    def require(self) -> None:
        """Raise an EncoderError for a folder that is clearly not a whole model.

        transformers would guess, and say something about the hub.
        """
        folder = Path(self.source)
        if not folder.exists():
            return
        found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        there = {
            "config.json": "config.json" in found,
            "weights (model.safetensors)": any(name.endswith(WEIGHTS) for name in found),
            "tokenizer files (tokenizer.json, ...)": any(n.startswith(TOKENIZER) for n in found),
        }
        if missing := [what for what, is_there in there.items() if not is_there]:
            raise EncoderError(f"{self.name}: the folder lacks {', '.join(missing)}")

    def config(self) -> Any:
        """Return the configuration."""
        return self._read(transformers.AutoConfig, "config")

    def kind(self, config: Any) -> Kind:
        """Return what the model says it is made for: to embed, or to go on writing."""
        made = set(getattr(config, "architectures", None) or ())
        if made & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
            return "language"
        writes = made & set(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values())
        return "vision-language" if writes and hasattr(config, "image_token_id") else "embedding"

    def model(self, dtype: torch.dtype, kind: Kind = "embedding") -> Any:
        """Return the model in eval mode."""
        with _quietly():
            return self._read(AUTO[kind], "weights", dtype=dtype).eval()

    def processor(self) -> Any:
        """Return the processor, which reads texts and images together."""
        return self._read(transformers.AutoProcessor, "processor", backend="pil")

    def tokenizer(self) -> Any:
        """Return the tokenizer."""
        return self._read(transformers.AutoTokenizer, "tokenizer")

    def image_processor(self) -> Any | None:
        """Return the image processor, or None where the model ships none (text anchors only)."""
        try:
            # The PIL backend needs no torchvision.
            return self._read(transformers.AutoImageProcessor, "image processor", backend="pil")
        except EncoderError:
            return None

    @property
    def commit(self) -> str | None:
        """The commit that a model on the hub was read at; None for a folder."""
        if Path(self.source).exists():
            return None
        found = cached_file(self.source, "config.json", revision=self.revision)
        commit: str | None = extract_commit_hash(found, None)
        return commit

    def json(self, path: str) -> Any | None:
        """Return what a JSON file of the model holds, or None where there is no such file."""
        found = cached_file(
            self.source,
            path,
            revision=self.revision,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        return None if found is None else json.loads(Path(found).read_text("utf-8"))

    def write_beside(self, model: Any, folder: Path) -> None:
        """Write changed weights as a whole model: with tokenizer, image processor and pooling."""
        model.save_pretrained(folder)
        self.tokenizer().save_pretrained(folder)
        if (processor := self.image_processor()) is not None:
            processor.save_pretrained(folder)
        for module in self.json("modules.json") or ():
            if (config := self.json(f"{module['path']}/config.json")) and module["path"]:
                path = folder / module["path"] / "config.json"
                write_bytes(path, json.dumps(config).encode())
        if modules := self.json("modules.json"):
            write_bytes(folder / "modules.json", json.dumps(modules).encode())

    def _read(self, auto: Any, what: str, **options: Any) -> Any:
        try:
            return auto.from_pretrained(
                self.source,
                revision=self.revision,
                trust_remote_code=self.trust_remote_code,
                **options,
            )
        except Exception as error:  # whatever a damaged file makes a reader raise
            said = [*str(error).strip().splitlines(), repr(error)]
            # A line that ends so has its reason in the next.
            why = " ".join(said[:2]) if said[0].endswith(":") else said[0]
            raise EncoderError(f"{self.name}: cannot read its {what}: {why}") from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep transformers' own progress bars out of notebooks and logs while reading."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
