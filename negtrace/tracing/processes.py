"""Several processes of one command, as torchrun and accelerate launch them."""

__all__ = ["launched", "meeting"]

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from negtrace.tracing.shard import Shard

LONGEST = timedelta(days=30)
"""The longest that a process waits for the others; a launcher ends all when one of them fails."""


def launched() -> Shard | None:
    """Return the shard of this process; None if no launcher started several."""
    count, rank = (os.environ.get(name, "") for name in ("WORLD_SIZE", "RANK"))
    if not (count.isdecimal() and rank.isdecimal()) or int(count) < 2:
        return None
    return Shard(int(rank) + 1, int(count))


@contextmanager
def meeting() -> Iterator[Callable[[], object]]:
    """Join the processes of a launcher, each on a GPU of its own, if there are GPUs.

    Yields:
        A function that returns when every process has called it.
    """
    import torch
    from torch import distributed

    if devices := torch.cuda.device_count():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % devices)
    distributed.init_process_group("gloo", timeout=LONGEST)
    try:
        yield distributed.barrier
    finally:
        distributed.destroy_process_group()
