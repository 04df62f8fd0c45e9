"""Load a model by a name or from a folder as an encoder, and check that it can be traced."""

__all__ = ["load", "options_for"]

from pathlib import Path
from typing import Any

from negtrace._settings import with_settings
from negtrace.encoders.base import Encoder
from negtrace.encoders.check import check_structure
from negtrace.encoders.families import FAMILIES, Family, LoadRequest, family_of
from negtrace.encoders.options import LoadOptions
from negtrace.errors import EncoderError


def load(name_or_path: str | Path, options: LoadOptions | None = None, **settings: Any) -> Encoder:
    """Load a model as an encoder, and check that it can be traced.

    >>> load("toy")
    ToyEncoder('toy', 3 blocks, causal, score in logit)

    Args:
        name_or_path: a built-in name (`phantom`, `toy`), a local folder, or a name on the Hugging
            Face hub. For open_clip, a folder with open_clip_config.json, `hf-hub:NAME` or
            `open_clip:ARCHITECTURE/WEIGHTS`. A folder with a LoRA adapter of any of these. Whatever
            else a family accepts that you registered in `negtrace.encoders.FAMILIES`.
        options: options to load with; the defaults when not given.
        settings: single options by name, such as `device="cuda"`: the fields of `LoadOptions`.

    Raises:
        EncoderError: when files are missing, an option does not apply to the model, the blocks
            cannot be found, or the self-check fails.
        UnknownNameError: for an unknown option, dtype or read-out.
    """
    options = with_settings(options or LoadOptions(), settings, "option of load")
    request = LoadRequest(name_or_path=str(name_or_path), options=options)
    name, family = family_of(request)
    _require_applicable(name, family, request)
    encoder = family.load(request)
    encoder.model.to(options.device)
    if options.self_check:
        check_structure(encoder).require()
    return encoder


def options_for(name_or_path: str | Path, options: LoadOptions) -> LoadOptions:
    """Return the options that apply to a model, with the others at their defaults.

    For loading several models, not all of one family.

    >>> options_for("toy", LoadOptions(dtype="float64", read_out="cls")).changed()
    ['dtype']

    Raises:
        EncoderError: when no family recognises the model.
    """
    request = LoadRequest(name_or_path=str(name_or_path), options=options)
    _, family = family_of(request)
    applying = [name for name in options.changed() if not family.objection(name, request)]
    return LoadOptions(**{name: getattr(options, name) for name in applying})


def _require_applicable(name: str, family: Family, request: LoadRequest) -> None:
    """Refuse an option that would be ignored."""
    for option in request.options.changed():
        if objection := family.objection(option, request):
            others = [other for other in FAMILIES if option in FAMILIES[other].options]
            raise EncoderError(
                f"{request.name}: the option {option} does not apply to the family {name!r}: "
                f"{objection}. {option} applies to: {', '.join(others)}"
            )
