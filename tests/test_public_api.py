"""The API page: what `negtrace` offers is what it lists, and it is documented."""

import inspect
import subprocess
import sys

import pytest

import negtrace


def test_the_list_is_whole() -> None:
    assert set(negtrace._HOMES) | {"__version__"} == set(negtrace.__all__)
    assert dir(negtrace) == sorted({*negtrace.__all__, *negtrace._ROOMS})


@pytest.mark.parametrize("name", negtrace.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(negtrace, name)
    assert name == "__version__" or inspect.getdoc(value)


@pytest.mark.parametrize("name", ["load", "trace", "wrap", "layer_scores", "heatmap"])
def test_every_parameter_of_the_main_functions_is_annotated(name: str) -> None:
    signature = inspect.signature(getattr(negtrace, name))
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, f"{name}({parameter})"


def test_an_unknown_name_points_to_the_list() -> None:
    with pytest.raises(AttributeError, match=r"'tracee'; see negtrace\.__all__"):
        _ = negtrace.tracee


def test_a_room_opens_when_it_is_first_named() -> None:
    code = "import negtrace; print(negtrace.bench.run.__name__, negtrace.export.read_json.__name__)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert shown.stdout.split() == ["run", "read_json"]
