"""The catalogues: what `negtrace` and its rooms offer is importable, documented and said once."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import negtrace

ROOMS = (
    "bench",
    "correction",
    "datasets",
    "encoders",
    "experiments",
    "language",
    "pairs",
    "phantom",
    "plots",
    "results",
    "tracing",
    "training",
)
PUBLIC = [(room, name) for room in ROOMS for name in import_module(f"negtrace.{room}").__all__]


def test_the_top_level_lists_its_rooms_and_names() -> None:
    assert set(ROOMS) < set(negtrace.__all__)
    assert dir(negtrace) == sorted(negtrace.__all__)


@pytest.mark.parametrize("name", sorted(set(negtrace.__all__) - {"__version__"}))
def test_every_top_level_name_is_there_and_documented(name: str) -> None:
    assert inspect.getdoc(getattr(negtrace, name))


@pytest.mark.parametrize(("room", "name"), PUBLIC, ids=[".".join(pair) for pair in PUBLIC])
def test_every_public_name_of_a_room_is_there(room: str, name: str) -> None:
    value = getattr(import_module(f"negtrace.{room}"), name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)


@pytest.mark.parametrize("name", ["load", "trace", "wrap", "layer_scores", "heatmap"])
def test_every_parameter_of_the_main_functions_is_annotated(name: str) -> None:
    signature = inspect.signature(getattr(negtrace, name))
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, f"{name}({parameter})"


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(AttributeError, match=r"negtrace attribute tracee"):
        _ = negtrace.tracee


def test_a_room_opens_when_it_is_first_named() -> None:
    code = (
        "import negtrace; print(negtrace.bench.run.__name__, negtrace.results.read_json.__name__)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert shown.stdout.split() == ["run", "read_json"]


def test_a_function_named_like_its_module_is_found_either_way() -> None:
    code = "import negtrace.tracing.trace, negtrace; print(callable(negtrace.tracing.trace))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert shown.stdout.split() == ["True"]
