"""A name or a folder into an encoder that has passed its self-check."""

__all__ = ["BUILT_IN", "load"]

import json
from collections.abc import Callable
from pathlib import Path

import torch

from negtrace._registry import Registry
from negtrace.encoders.base import Encoder
from negtrace.encoders.check import check
from negtrace.encoders.huggingface.prompt import Prompt
from negtrace.encoders.toy import ToyEncoder
from negtrace.errors import EncoderError, UnknownNameError
from negtrace.phantom.bundled import CHECKPOINT

BUILT_IN: Registry[Callable[[torch.dtype], Encoder]] = Registry("built-in model")
"""Models that need no files of the user's."""

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@BUILT_IN.register("toy")
def _toy(dtype: torch.dtype) -> Encoder:
    """Three blocks whose effects are worked out by hand."""
    return ToyEncoder(dtype)


@BUILT_IN.register("phantom")
def _phantom(dtype: torch.dtype) -> Encoder:
    """A small CLIP trained on synthetic chest radiographs: it sees well and negates badly."""
    return _hugging_face(str(CHECKPOINT), dtype, "phantom")


ADAPTER = "adapter_config.json"
"""What peft calls the file that says which model an adapter is of."""


def load(
    name_or_path: str | Path,
    *,
    name: str | None = None,
    read_out: str | None = None,
    revision: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    trust_remote_code: bool = False,
    self_check: bool = True,
    prompt: Prompt | None = None,
) -> Encoder:
    """Load a model as an encoder, and check that it can be traced.

    Args:
        name_or_path: a built-in name, a local folder or a name on the Hugging Face hub; for
            open_clip a folder with open_clip_config.json, `hf-hub:NAME` or
            `open_clip:ARCHITECTURE/WEIGHTS`; a folder with a LoRA adapter of any of these.
        name: what to call it in results; the folder's or the hub's name when not given.
        read_out: `cls`, `mean` or `pooler`, for text encoders; a sentence-transformers model
            says its own, any other is read by the mean.
        revision: which revision of a model on the hub; open_clip takes none.
        device: where to put the model.
        dtype: `float32`, `float64`, `bfloat16` or `float16`.
        trust_remote_code: run code that comes with the model; only if you trust its source.
        self_check: run `negtrace.check` and refuse a model that fails it.
        prompt: what a language or a vision-language model is asked, and its two answers.

    Raises:
        EncoderError: when files are missing, the blocks cannot be found or the check fails.
        UnknownNameError: for an unknown dtype or read-out.
    """
    if dtype not in DTYPES:
        raise UnknownNameError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
    source = str(name_or_path)
    if source in BUILT_IN:
        encoder = BUILT_IN[source](DTYPES[dtype])
    elif (Path(source) / ADAPTER).is_file() and not (Path(source) / "config.json").is_file():
        encoder = _adapted(Path(source), name, read_out, device, dtype, trust_remote_code)
    elif _is_open_clip(source):
        from negtrace.encoders.open_clip import load_open_clip

        if revision is not None:
            raise EncoderError(
                f"revision {revision!r} of {source}: open_clip loads the newest one only; download "
                "that revision into a folder and give the folder"
            )
        encoder = load_open_clip(source, name=name, dtype=DTYPES[dtype])
    else:
        encoder = _hugging_face(
            source, DTYPES[dtype], name, read_out, revision, trust_remote_code, prompt
        )
    encoder.model.to(device)
    if self_check:
        check(encoder).require()
    return encoder


def _adapted(
    folder: Path,
    name: str | None,
    read_out: str | None,
    device: str,
    dtype: str,
    trust_remote_code: bool,
) -> Encoder:
    """Load the model that an adapter is of, and merge the adapter into it."""
    from negtrace.encoders.lora import merge_adapter

    base = json.loads((folder / ADAPTER).read_text("utf-8")).get("base_model_name_or_path")
    if not base:
        raise EncoderError(
            f"{folder.name}: its {ADAPTER} does not say which model it is of; load that model and "
            "use negtrace.encoders.lora.merge_adapter(encoder.model, folder)"
        )
    encoder = load(
        base,
        read_out=read_out,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        self_check=False,
    )
    merge_adapter(encoder.model, folder)
    encoder.name = name or folder.resolve().name  # a built-in has a name of its own
    return encoder


def _is_open_clip(source: str) -> bool:
    """Return whether a name, or a folder that holds no model of transformers, is open_clip's."""
    folder = Path(source)
    own = (folder / "open_clip_config.json").is_file() and not (folder / "config.json").is_file()
    return own or source.startswith(("open_clip:", "hf-hub:", "local-dir:"))


def _hugging_face(
    source: str,
    dtype: torch.dtype,
    name: str | None,
    read_out: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    prompt: Prompt | None = None,
) -> Encoder:
    """Load whichever kind of model the files hold."""
    # Imported here, so that a toy or a wrapped module needs no transformers.
    from negtrace.encoders.huggingface.causal_lm import CausalLanguageModel
    from negtrace.encoders.huggingface.dual import DualEncoder
    from negtrace.encoders.huggingface.files import ModelFiles
    from negtrace.encoders.huggingface.text import TextEncoder, stored_read_out
    from negtrace.encoders.huggingface.vision_language import VisionLanguageModel

    files = ModelFiles(source=source, revision=revision, trust_remote_code=trust_remote_code)
    try:
        files.require()
        config = files.config()
        stored = stored_read_out(files.json)
        # A decoder that sentence-transformers pools embeds, whatever it was first made for.
        kind = "embedding" if read_out or stored else files.kind(config)
        model, tokenizer = files.model(dtype, kind), files.tokenizer()
    except EncoderError as error:
        raise EncoderError(
            f"{error} -- give a built-in name ({', '.join(BUILT_IN)}), a folder with config.json, "
            "weights and tokenizer files, or a model's name on the Hugging Face hub"
        ) from error
    name = name or files.name
    revision = files.commit or revision
    if kind == "language":
        return CausalLanguageModel(model, tokenizer, name=name, prompt=prompt, revision=revision)
    if kind == "vision-language":
        reads = files.processor()
        return VisionLanguageModel(model, reads, name=name, prompt=prompt, revision=revision)
    if hasattr(model, "get_text_features"):
        processor = files.image_processor()
        return DualEncoder(model, tokenizer, processor, name=name, revision=revision)
    chosen = read_out or stored or "mean"
    return TextEncoder(model, tokenizer, name=name, read_out=chosen, revision=revision)
