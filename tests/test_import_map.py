"""The map of the house: every module has a room and imports only from its own and earlier rooms."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "negtrace"

# In order: a module may import from its own room and from the rooms before it, no others.
ROOMS = (
    "errors",
    "version",
    "_messages",
    "_lazy",
    "_markdown",
    "_registry",
    "_settings",
    "_json",
    "_files",
    "language",
    "phantom",
    "pairs",
    "results",
    "datasets",
    "encoders",
    "correction",
    "tracing",
    "bench",
    "training",
    "plots",
    "experiments",
    "cli",
    "__main__",
)

# The only modules or rooms that may import a heavy package.
HOMES: dict[str, tuple[str, ...]] = {
    "torch": (
        "encoders",
        "correction",
        "tracing",
        "bench.scoring",
        "training",
        "experiments.train_phantom",
    ),
    "einops": ("tracing", "encoders"),
    "transformers": (
        "encoders.huggingface",
        "experiments.train_phantom",
        "training.trainer",
        "training.gradient_scaling",
        "training.trainer_options",
    ),
    "peft": ("encoders.lora",),
    "accelerate": ("training.trainer",),
    "open_clip": ("encoders.open_clip",),
    "matplotlib": ("plots", "experiments.train_phantom.sheet"),
    "seaborn": ("plots",),
    "pyarrow": ("datasets.parquet",),
    "ijson": ("datasets.readers.files",),
    "tyro": ("cli",),
    "tokenizers": ("encoders.huggingface", "experiments.train_phantom"),
    "transformer_lens": (
        "tracing.engines.hooked_encoder",
        "tracing.engines.transformer_lens",
    ),
    "nnsight": ("tracing.engines.nnsight_tower", "tracing.engines.nnsight"),
}

HEAVY = ("torch", "matplotlib", "pandas", "transformers")

# Packages that importing these must not load, not even indirectly.
LIGHT: dict[str, tuple[str, ...]] = {
    "negtrace": ("numpy", *HEAVY),
    **{f"negtrace.{room}": ("numpy", *HEAVY) for room in ROOMS if (PACKAGE / room).is_dir()},
    "negtrace.results.options": ("numpy", *HEAVY),
    "negtrace.results.cte": HEAVY,
    "negtrace.results.layer_scores": HEAVY,
    "negtrace.results.cte_json": HEAVY,
    "negtrace.results.heads": HEAVY,
    "negtrace.plots.registry": ("numpy", *HEAVY),
    "negtrace.plots.save": ("numpy", *HEAVY),
    "negtrace.plots.heatmaps": ("torch", "transformers"),
    "negtrace.plots.heads": ("torch", "transformers"),
    "negtrace.plots.bench": ("torch", "transformers"),
    "negtrace.experiments.gallery": ("torch", "transformers"),
    "negtrace.datasets.build": (*HEAVY, "pyarrow"),
    "negtrace.pairs.jsonl": HEAVY,
    "negtrace.pairs.radiology": HEAVY,
    "negtrace.pairs.valse": HEAVY,
    "negtrace.training.multipliers": HEAVY,
    "negtrace.training.data": HEAVY,
    "negtrace.plots.training": ("torch", "transformers"),
    "negtrace.training.param_groups": (*HEAVY, "peft"),
    "negtrace.tracing.config": ("numpy", *HEAVY),
    "negtrace.tracing.engines.transformer_lens": ("transformer_lens", "nnsight", "pandas"),
    "negtrace.tracing.engines.nnsight": ("transformer_lens", "nnsight", "pandas"),
}


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name below `negtrace`."""
    named = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        named[name.removesuffix(".__init__")] = path
    named.pop("__init__")
    return named


def imports(path: Path) -> Iterator[str]:
    """Yield every module a file imports, at its top, in a function, or by `require("name")`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", None) == "require":
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant))


def room(module: str) -> int:
    """Return the number of the room a module lives in."""
    name = module.split(".")[0]
    if name not in ROOMS:
        pytest.fail(f"negtrace.{module} is in no room; the rooms are {', '.join(ROOMS)}")
    return ROOMS.index(name)


def within(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def catalogue(name: str) -> dict[str, str]:
    """Return the public names of a room, each with the module that its catalogue names."""
    stub = ast.parse((PACKAGE / name / "__init__.pyi").read_text("utf-8"))
    return {
        alias.name: f"negtrace.{name}.{node.module}"
        for node in ast.walk(stub)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def crossing(module: str) -> Iterator[tuple[str, str, str]]:
    """Yield the room, the module and the name of everything imported from another room."""
    for name in imports(modules()[module]):
        if name.startswith("negtrace.") and name.count(".") > 1:
            source, _, public = name.rpartition(".")
            other = source.split(".")[1]
            if (PACKAGE / other).is_dir() and other != module.split(".")[0]:
                yield other, source, public


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_from_its_room_and_those_before(module: str) -> None:
    for name in imports(modules()[module]):
        below = name.removeprefix("negtrace.")
        if name.startswith("negtrace.") and below.split(".")[0] in {
            m.split(".")[0] for m in modules()
        }:
            assert room(below) <= room(module), (
                f"negtrace.{module} imports {name} from a later room"
            )


@pytest.mark.parametrize("module", modules())
def test_only_public_names_of_another_room_are_imported(module: str) -> None:
    for other, source, public in crossing(module):
        if source == f"negtrace.{other}":
            continue
        assert catalogue(other).get(public) == source, (
            f"negtrace.{module} imports {public} from {source}, which is private to {other}; "
            f"add it to negtrace/{other}/__init__.pyi or do without"
        )


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


@pytest.mark.parametrize("room", ["tracing", "bench"])
def test_training_neither_traces_nor_measures(room: str) -> None:
    """A trace and a benchmark before and after training are made by `experiments`."""
    for module, path in modules().items():
        if within(module, ("training",)):
            names = [name for name in imports(path) if name.startswith(f"negtrace.{room}")]
            assert not names, module


def test_few_modules_stand_outside_the_rooms() -> None:
    outside = {name for name in modules() if "." not in name and not (PACKAGE / name).is_dir()}
    assert outside == {
        "errors",
        "version",
        "__main__",
        "_files",
        "_json",
        "_lazy",
        "_markdown",
        "_messages",
        "_registry",
        "_settings",
    }


def test_no_module_is_named_after_nothing() -> None:
    names = {part for module in modules() for part in module.split(".")}
    assert not names & {"utils", "helpers", "common", "misc", "types", "core"}


def test_a_heavy_import_is_seen(tmp_path: Path) -> None:
    """The scan itself: imports within functions count."""
    lines = ("from torch import nn", "import seaborn as s", "require('nnsight')")
    (tmp_path / "m.py").write_text("def f():\n    " + "\n    ".join(lines))
    assert set(imports(tmp_path / "m.py")) == {"torch.nn", "seaborn", "nnsight"}
