"""Folder of a trained phantom: weights in half precision, tokenizer and image processor."""

__all__ = ["checkpoint_digest", "write_checkpoint"]

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from transformers import CLIPModel, PreTrainedTokenizerFast

from negtrace._json import parse_json
from negtrace.experiments.train_phantom.model import MEAN, SIZE, STD

WEIGHTS = "model.safetensors"


def checkpoint_digest(folder: Path) -> str:
    """Return the SHA-256 of the weights in `folder`."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def write_checkpoint(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model and tokenizer to `folder`; its files are replaced when all new ones are complete.

    The weights are rounded to half precision. The config still says float32, so that nobody
    computes in half precision by accident.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".phantom-") as name:
        draft = Path(name)
        _draft(model, tokenizer, draft)
        for file in sorted(draft.iterdir()):
            file.chmod(0o644)
            shutil.move(file, folder / file.name)


def _draft(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, draft: Path) -> None:
    half = {name: value.half() for name, value in model.state_dict().items()}
    model.save_pretrained(draft, state_dict=half)
    config = parse_json((draft / "config.json").read_bytes())
    _write_json(draft / "config.json", {**config, "dtype": "float32"})
    tokenizer.save_pretrained(draft)
    _write_json(draft / "preprocessor_config.json", _processor())


def _processor() -> dict[str, object]:
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"height": SIZE, "width": SIZE},
        "resample": 3,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [MEAN] * 3,
        "image_std": [STD] * 3,
    }


def _write_json(file: Path, content: dict[str, object]) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")
