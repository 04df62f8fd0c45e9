"""Random numbers of a corruption, the same whatever else is traced."""

__all__ = ["generator_for"]

import hashlib

import torch

from negtrace.pairs.pair import Pair


def generator_for(pair: Pair, seed: int, sample: int) -> torch.Generator:
    """Return a generator that depends only on the content of the pair, the seed and the sample.

    The pair's id plays no part. The generator is on the CPU, so every device gets the same numbers.
    """
    key = hashlib.sha256(f"{pair.digest}|{seed}|{sample}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))
