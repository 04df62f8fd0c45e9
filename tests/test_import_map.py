"""The map of the house: every module has a place and imports only from the rooms before it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "negtrace"

# In order: a module may import modules of its own room and of the rooms above it, no others.
# A new module must be placed here; say in CONTRIBUTING.md why it is a new noun.
ROOMS: tuple[tuple[str, ...], ...] = (
    ("errors", "lazy", "ranks", "registry", "tables", "tokens", "version"),
    ("language",),
    ("options",),
    ("phantom",),
    ("anchors", "pairs", "pictures", "radiographs", "roles", "stretches", "alignment"),
    ("pair_sources",),
    ("schema",),
    ("dataset",),
    ("intervals", "effect", "segments", "union", "cte"),
    ("scores", "heads"),
    ("weightings",),
    ("plot_tables", "plot_layout", "plot_cells", "plots", "head_plots", "export"),
    ("gallery",),
    ("hooks",),
    ("encoders",),
    ("tracing",),
    ("interop",),
    ("loading",),
    ("experiment", "bench"),
    ("trainers",),
    ("finetune",),
    ("cli", "__main__"),
)

# Where a heavy package may be imported at all; everything else must do without.
HOMES: dict[str, tuple[str, ...]] = {
    "torch": (
        "hooks",
        "encoders",
        "tracing",
        "interop",
        "loading",
        "phantom",
        "bench.scoring",
        "trainers",
        "finetune",
    ),
    "einops": ("tracing", "encoders"),
    "transformers": (
        "encoders.hf_files",
        "encoders.hf_attention",
        "phantom",
        "finetune.training",
        "finetune.guard",
        "trainers.scaling",
    ),
    "peft": ("encoders.lora",),
    "accelerate": ("finetune.training",),
    "open_clip": ("encoders.open_clip",),
    "matplotlib": (
        "plots",
        "plot_cells",
        "plot_layout",
        "head_plots",
        "phantom.sheet",
        "bench.figures",
        "finetune.figures",
    ),
    "seaborn": ("plots", "plot_cells", "bench.figures"),
    "pyarrow": ("dataset.parquet",),
    "tyro": ("cli",),
    "tokenizers": ("phantom",),
    "transformer_lens": ("interop.hooked", "interop.transformer_lens"),
    "nnsight": ("interop.traced", "interop.nnsight"),
}

# What each of these must not load, however indirectly, when it is imported.
LIGHT: dict[str, tuple[str, ...]] = {
    "negtrace": ("numpy", "torch", "matplotlib", "pandas", "transformers"),
    "negtrace.cli": ("numpy", "torch", "matplotlib", "pandas", "transformers"),
    "negtrace.cte": ("torch", "matplotlib", "pandas", "transformers"),
    "negtrace.scores": ("torch", "matplotlib", "pandas", "transformers"),
    "negtrace.export": ("torch", "matplotlib", "pandas", "transformers"),
    "negtrace.heads": ("torch", "matplotlib", "pandas", "transformers"),
    "negtrace.plots": ("torch", "transformers"),
    "negtrace.head_plots": ("torch", "transformers"),
    "negtrace.gallery": ("torch", "transformers"),
    "negtrace.bench": ("numpy", "torch", "matplotlib", "pandas", "transformers"),
    "negtrace.bench.figures": ("torch", "transformers"),
    "negtrace.dataset": ("numpy", "torch", "matplotlib", "pandas", "transformers"),
    "negtrace.dataset.build": ("torch", "matplotlib", "pandas", "transformers", "pyarrow"),
    "negtrace.pair_sources": ("torch", "matplotlib", "pandas", "transformers"),
    "negtrace.phantom": ("torch", "matplotlib", "pandas", "transformers"),
    "negtrace.finetune": ("numpy", "torch", "matplotlib", "pandas", "transformers"),
    "negtrace.weightings": ("torch", "matplotlib", "pandas", "transformers"),
    "negtrace.trainers": ("torch", "matplotlib", "pandas", "transformers", "peft"),
    "negtrace.interop.transformer_lens": ("transformer_lens", "nnsight", "pandas"),
    "negtrace.interop.nnsight": ("transformer_lens", "nnsight", "pandas"),
}


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name below `negtrace`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    found.pop("__init__")
    return found


def imports(path: Path) -> Iterator[str]:
    """Yield every module a file imports, at its top, in a function, or by `package("name")`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", None) in (
            "package",
            "require",
        ):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant))


def room(module: str) -> int:
    """Return the number of the room a module lives in."""
    for number, names in enumerate(ROOMS):
        if module.split(".")[0] in names:
            return number
    pytest.fail(f"negtrace.{module} is on no map; place it in ROOMS")


def within(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_from_its_room_and_those_above(module: str) -> None:
    known = modules()
    for name in imports(known[module]):
        below = name.removeprefix("negtrace.")
        if not name.startswith("negtrace.") or below.split(".")[0] == module.split(".")[0]:
            continue
        if below.split(".")[0] in known or any(k.startswith(below.split(".")[0]) for k in known):
            assert room(below) <= room(module), f"negtrace.{module} imports {name} from below it"


@pytest.mark.parametrize("module", modules())
def test_a_heavy_package_is_imported_at_home_only(module: str) -> None:
    for name in imports(modules()[module]):
        places = HOMES.get(name.split(".")[0])
        assert places is None or within(module, places), f"negtrace.{module} imports {name}"


@pytest.mark.parametrize("name", LIGHT)
def test_importing_it_loads_nothing_heavy(name: str) -> None:
    code = f"import sys, {name}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    loaded = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not set(LIGHT[name]) & set(loaded)


def test_fine_tuning_reads_layer_scores_and_never_traces() -> None:
    """The report's second trace is made by `experiment`, which `finetune.study` alone asks."""
    for module, path in modules().items():
        if within(module, ("finetune", "trainers")):
            names = tuple(imports(path))
            assert not [name for name in names if name.startswith("negtrace.tracing")], module
            asks = any(name.startswith("negtrace.experiment") for name in names)
            assert asks == (module == "finetune.study"), module


def test_no_room_is_called_after_nothing() -> None:
    names = {part for module in modules() for part in module.split(".")}
    assert not names & {"utils", "helpers", "common", "misc", "types", "core"}


def test_a_heavy_import_is_seen(tmp_path: Path) -> None:
    """The scan itself: imports within functions count."""
    lines = ("from torch import nn", "import seaborn as s", "package('nnsight')")
    (tmp_path / "m.py").write_text("def f():\n    " + "\n    ".join(lines))
    assert set(imports(tmp_path / "m.py")) == {"torch.nn", "seaborn", "nnsight"}
