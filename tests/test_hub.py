"""Loading by a name on the hub, from a local server with its interface.

huggingface_hub reads its settings when it is imported, so every client runs in its own process.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from dual_encoders import dual, image_processor
from hub_server import Hub, serving
from language_models import READERS, decoder, reader
from small_encoders import bert, clip
from small_models import TEXT, build, word_tokenizer

# Load the models by name and revision, and print one line of JSON for each.
CLIENT = """
import json, sys
import negtrace
from negtrace.encoders import LoadOptions, Prompt, options_for
from negtrace.errors import NegtraceError

prompt = Prompt(template="{anchor} is {statement} true ? answer :")
for name, revision in json.loads(sys.argv[1]):
    try:
        options = LoadOptions(revision=revision, prompt=prompt)
        encoder = negtrace.load(name, options_for(name, options))
        facts = {"family": encoder.family, "digest": encoder.digest, "revision": encoder.revision}
        facts |= {"name": encoder.name, "images": encoder.reads_images}
    except NegtraceError as error:
        facts = {"error": str(error)}
    print(json.dumps(facts), flush=True)
"""
WEIGHTS = "model.safetensors"
FAMILIES = {
    "lab/clip": ("dual encoder", clip),
    "lab/blip": ("dual encoder", lambda: dual("blip")),
    "lab/bert": ("text encoder", bert),
    "lab/gpt2": ("language model", lambda: decoder("gpt2")),
    "lab/llava": ("vision-language model", lambda: reader("llava")),
}


def save(name: str, folder: Path) -> str:
    """Write a model's files, and return the digest of its weights."""
    encoder = FAMILIES[name][1]()
    encoder.model.save_pretrained(folder)
    if name == "lab/llava":
        READERS["llava"][1]().save_pretrained(folder)
    else:
        word_tokenizer(119 if name == "lab/blip" else 3).save_pretrained(folder)
    if name in ("lab/clip", "lab/blip"):
        image_processor("clipseg").save_pretrained(folder)
    return encoder.digest


def client(hub: Hub, cache: Path, wanted: list[tuple[str, str | None]], **env: str) -> list[dict]:
    """Load models in a process whose hub is this one."""
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0", **env}
    settings |= {"HF_HUB_DISABLE_TELEMETRY": "1", "DISABLE_SAFETENSORS_CONVERSION": "1"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", CLIENT, json.dumps(wanted)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub()) as served:
        yield served


def test_every_family_downloads_once_and_then_loads_offline(hub: Hub, tmp_path: Path) -> None:
    digests = {}
    for name in FAMILIES:
        hub.repos[name] = {"main": tmp_path / name}
        digests[name] = save(name, tmp_path / name)
    wanted = [(name, None) for name in FAMILIES]
    first = client(hub, tmp_path / "cache", wanted)
    for (name, (family, _)), facts in zip(FAMILIES.items(), first, strict=True):
        assert facts["name"] == name
        assert facts["family"] == family
        assert facts["digest"] == digests[name]
        assert facts["revision"] == Hub.digest(name, "main")
        assert facts["images"] is (name in ("lab/clip", "lab/blip", "lab/llava"))
    downloads = [name for method, name, _ in hub.asked if method == "GET"]
    assert downloads.count(WEIGHTS) == len(FAMILIES)
    hub.asked.clear()
    assert client(hub, tmp_path / "cache", wanted) == first
    assert "GET" not in {method for method, *_ in hub.asked}
    hub.asked.clear()
    assert client(hub, tmp_path / "cache", wanted, HF_HUB_OFFLINE="1") == first
    assert not hub.asked


def test_a_revision_is_loaded_by_name_or_by_commit(hub: Hub, tmp_path: Path) -> None:
    for revision in ("main", "v1"):
        folder = tmp_path / revision
        transformers.BertConfig(**TEXT, vocab_size=120).save_pretrained(folder)
        model = build(transformers.BertConfig(**TEXT, vocab_size=120), torch.float32)
        with torch.no_grad():
            model.embeddings.word_embeddings.weight.add_(revision == "v1")
        model.save_pretrained(folder)
        word_tokenizer().save_pretrained(folder)
        hub.repos.setdefault("lab/bert", {})[revision] = folder
    commit = Hub.digest("lab/bert", "v1")
    wanted = [("lab/bert", None), ("lab/bert", "v1"), ("lab/bert", commit), ("lab/bert", "v9")]
    main, named, pinned, unknown = client(hub, tmp_path / "cache", [*wanted, ("lab/no", None)])[:4]
    assert main["revision"] == Hub.digest("lab/bert", "main")
    assert named["revision"] == pinned["revision"] == commit
    assert named["digest"] == pinned["digest"] != main["digest"]
    assert "load takes toy; phantom; a folder with adapter_config.json" in unknown["error"]


def test_a_failed_download_is_reported_and_leaves_no_part_of_a_file(
    hub: Hub, tmp_path: Path
) -> None:
    hub.repos["lab/bert"] = {"main": tmp_path / "bert"}
    digest = save("lab/bert", tmp_path / "bert")
    hub.failing.add(WEIGHTS)
    [facts] = client(hub, tmp_path / "cache", [("lab/bert", None)])
    assert facts["error"].startswith("lab/bert: cannot read its weights")
    assert "Server error '500" in facts["error"]
    assert not list((tmp_path / "cache").rglob("*.incomplete"))
    assert not list((tmp_path / "cache").rglob(WEIGHTS))
    [offline] = client(hub, tmp_path / "cache", [("lab/bert", None)], HF_HUB_OFFLINE="1")
    assert "cannot read its weights" in offline["error"]
    hub.failing.clear()
    [again] = client(hub, tmp_path / "cache", [("lab/bert", None)])
    assert again["digest"] == digest


def test_a_download_that_stops_is_continued(hub: Hub, tmp_path: Path) -> None:
    folder, chunk = tmp_path / "bert", 10 << 20  # huggingface_hub keeps whole chunks of 10 MiB
    model = build(transformers.BertConfig(**TEXT, vocab_size=100_000), torch.float32)
    model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    assert (folder / WEIGHTS).stat().st_size > chunk + 1000
    hub.repos["lab/bert"] = {"main": folder}
    hub.cut[WEIGHTS] = chunk + 1000
    [facts] = client(hub, tmp_path / "cache", [("lab/bert", None)])
    assert "digest" in facts, facts
    assert not hub.cut
    ranges = [span for method, name, span in hub.asked if (method, name) == ("GET", WEIGHTS)]
    assert ranges == [None, f"bytes={chunk}-"]
