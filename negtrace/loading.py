"""A name or a folder into an encoder that has passed its self-check."""

__all__ = ["BUILT_IN", "load"]

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from negtrace.encoders.base import Encoder
from negtrace.encoders.check import check
from negtrace.encoders.toy import ToyEncoder
from negtrace.errors import EncoderError, UnknownNameError
from negtrace.phantom import CHECKPOINT
from negtrace.registry import Registry

BUILT_IN: Registry[Callable[[torch.dtype], Encoder]] = Registry("built-in model")
"""Models that need no files of the user's."""

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}

HINT = (
    "give a built-in name ({known}), a folder with config.json, weights and tokenizer files, or a "
    "model's name on the Hugging Face hub"
)


@BUILT_IN.register("toy")
def _toy(dtype: torch.dtype) -> Encoder:
    """Three blocks whose effects are worked out by hand."""
    return ToyEncoder(dtype)


@BUILT_IN.register("phantom")
def _phantom(dtype: torch.dtype) -> Encoder:
    """A small CLIP trained on synthetic chest radiographs: it sees well and negates badly."""
    return _hugging_face(str(CHECKPOINT), "phantom", dtype, None, False, None)


def load(
    name_or_path: str | Path,
    *,
    read_out: str | None = None,
    revision: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    trust_remote_code: bool = False,
    self_check: bool = True,
) -> Encoder:
    """Load a model as an encoder, and check that it can be traced.

    Args:
        name_or_path: a built-in name, a local folder or a name on the Hugging Face hub.
        read_out: `cls`, `mean` or `pooler`, for text encoders; a sentence-transformers folder
            says its own, any other is read by the mean.
        revision: which revision of a model on the hub.
        device: where to put the model.
        dtype: `float32`, `float64` or `bfloat16`.
        trust_remote_code: run code that comes with the model; only if you trust its source.
        self_check: run `negtrace.encoders.check.check` and refuse a model that fails it.

    Raises:
        EncoderError: when files are missing, the blocks cannot be found or the check fails.
        UnknownNameError: for an unknown dtype or read-out.
    """
    if dtype not in DTYPES:
        raise UnknownNameError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
    name = str(name_or_path)
    if name in BUILT_IN:
        encoder = BUILT_IN[name](DTYPES[dtype])
    else:
        encoder = _hugging_face(
            name, _shown_name(name), DTYPES[dtype], revision, trust_remote_code, read_out
        )
    encoder.model.to(device)
    if self_check:
        check(encoder).require()
    return encoder


def _shown_name(name: str) -> str:
    """Return the last part of a folder, and a hub name whole: paths are private."""
    return Path(name).resolve().name if Path(name).exists() else name


def _hugging_face(
    name: str,
    shown: str,
    dtype: torch.dtype,
    revision: str | None,
    trust_remote_code: bool,
    read_out: str | None,
) -> Encoder:
    """Load a dual or a text encoder, whichever the files hold."""
    # Imported here, so that a toy or a wrapped module needs none of it.
    import transformers

    from negtrace.encoders.hf_dual import DualEncoder
    from negtrace.encoders.hf_text import TextEncoder, folder_read_out

    source: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    _require_files(Path(name), shown)
    config = _read(transformers.AutoConfig, name, shown, "config", source)
    model = _read(transformers.AutoModel, name, shown, "weights", {**source, "dtype": dtype}).eval()
    tokenizer = _read(transformers.AutoTokenizer, name, shown, "tokenizer", source)
    revision = getattr(config, "_commit_hash", None) or revision
    if hasattr(model, "get_text_features"):
        processor = _image_processor(transformers, name, source)
        return DualEncoder(model, tokenizer, processor, name=shown, revision=revision)
    chosen = read_out or folder_read_out(Path(name)) or "mean"
    return TextEncoder(model, tokenizer, name=shown, read_out=chosen, revision=revision)


def _require_files(folder: Path, shown: str) -> None:
    """Raise for a folder that is clearly not a whole model, before transformers guesses."""
    if not folder.exists():
        return
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    weights = any(name.endswith((".safetensors", ".bin", ".index.json")) for name in found)
    tokenizer = any(
        name.startswith(("tokenizer", "vocab", "spiece", "sentencepiece")) for name in found
    )
    missing = [
        what
        for what, there in [
            ("config.json", "config.json" in found),
            ("weights (model.safetensors)", weights),
            ("tokenizer files (tokenizer.json, tokenizer_config.json)", tokenizer),
        ]
        if not there
    ]
    if missing:
        raise EncoderError(f"{shown}: the folder lacks {', '.join(missing)}; {_hint()}")


def _read(auto: Any, name: str, shown: str, what: str, options: dict[str, Any]) -> Any:
    try:
        return auto.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise EncoderError(f"{shown}: cannot read its {what}: {first} -- {_hint()}") from error


def _hint() -> str:
    return HINT.format(known=", ".join(BUILT_IN))


def _image_processor(transformers: Any, name: str, source: dict[str, Any]) -> Any | None:
    """Return the model's image processor, or None where it ships none (text anchors only)."""
    try:
        # The PIL backend needs no torchvision.
        return transformers.AutoImageProcessor.from_pretrained(name, backend="pil", **source)
    except (OSError, ValueError, KeyError, ImportError):
        return None
