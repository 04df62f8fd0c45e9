"""Time of reading a text, as its length grows."""

import time
from collections.abc import Callable


def assert_linear(read: Callable[[str], object], words: str, count: int) -> None:
    """Require that a text ten times as long takes no more than 40 times as long to read.

    Args:
        read: reads a text.
        words: some words that the texts repeat.
        count: number of words of the longer text.
    """

    def seconds(text: str) -> float:
        start = time.process_time()
        read(text)
        return time.process_time() - start

    times = count // len(words.split())
    part, whole = words * (times // 10), words * times
    fastest = min(seconds(part) for _ in range(3))
    assert seconds(whole) < 40 * fastest + 0.5
