"""Shapes checked at run time, no display, and the real public data where it is at hand."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# The models are tiny: more threads cost more in waiting for each other than they gain. The
# variable is for the notebooks and commands that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)

# Before any other import of the package, so that every annotated shape is checked while tests run.
install_import_hook("negtrace", "beartype.beartype")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need a GPU where there is none."""
    left_out = [item for item in items if item.get_closest_marker("gpu")]
    if left_out and not torch.cuda.is_available():
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True, scope="session")
def settings_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's own folder of settings out of the tests, also in processes they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the public data; in CI its absence is a failure, elsewhere a stated skip."""
    default = Path(__file__).parents[2] / "shared" / "data"
    return _present(Path(os.environ.get("NEGTRACE_DATA", default)))


@pytest.fixture(scope="session")
def cases_dir(data_dir: Path) -> Path:
    """Folder of the sentences that others found hard, beside the public data."""
    return _present(data_dir.parent / "cases")


def _present(folder: Path) -> Path:
    """Return a folder; in CI its absence is a failure, elsewhere a stated skip."""
    if not folder.is_dir():
        reason = f"no public data at {folder}; set NEGTRACE_DATA to its folder"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
