"""The examples of docs/language.md run, in order, as one session."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "language.md"


def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 7
    for block in blocks:
        exec(block, names)  # noqa: S102
