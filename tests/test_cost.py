"""The cost of a trace, said before it runs."""

import json
from pathlib import Path

import pytest
from torch.utils.flop_counter import FlopCounterMode

import negtrace
from negtrace import cli
from negtrace.pairs.phantom import phantom_pairs
from negtrace.tracing import cost_of_trace

RESULTS = Path(__file__).parents[1] / "benchmarks/results/cost.json"


@pytest.mark.parametrize("count", [4, 24, 96])
def test_flops_and_cells_are_those_of_the_trace(count: int) -> None:
    encoder, pairs = negtrace.load("phantom"), phantom_pairs(n=count)
    cost = cost_of_trace(encoder, pairs, self_check=False)
    with FlopCounterMode(display=False) as counter:
        cte = negtrace.trace(encoder, pairs, self_check=False, progress=False)
    assert cost.pairs == len(cte)
    assert cost.dropped == len(cte.dropped)
    assert cost.flops > 0
    assert cost.flops == pytest.approx(counter.get_total_flops(), rel=0.3)
    tokens = (cte.roles >= 0).sum() * len(cte.layers) * len(cte.sites)
    assert cost.cells == pytest.approx(tokens, rel=0.1)


def test_time_grows_with_the_pairs_and_memory_is_at_least_that_of_now() -> None:
    encoder, pairs = negtrace.load("phantom"), phantom_pairs(n=96)
    few, many = (cost_of_trace(encoder, pairs[:n], self_check=False) for n in (8, 96))
    assert many.flops > 5 * few.flops
    assert few.seconds > 0
    assert few.mebibytes is not None
    assert many.mebibytes is not None
    assert 50 < few.mebibytes < many.mebibytes


def test_the_command_says_the_cost_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["trace", "toy", "--limit", "8", "--estimate", "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said[1:]] == ["denoising", "noising"]
    assert all("8 pairs" in line and "FLOPs" in line and "MiB" in line for line in said[1:])
    assert not out.exists()


def test_the_estimates_of_the_benchmark_are_within_a_factor_of_two() -> None:
    rows = json.loads(RESULTS.read_text())["rows"]
    assert len(rows) == 3
    for row in rows:
        for name, estimate in row["estimate"].items():
            assert 0.5 <= estimate / row["trace"][name] <= 2, (row["pairs"], name)
