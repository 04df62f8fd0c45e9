"""Damage to files: what a crash, a bad disk, another version or an unkind hand leaves behind."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

Damage = Callable[[bytes], bytes]

LEVELS = 100_000
DIGITS = 5_000


def _put(text: bytes) -> Damage:
    """Return a damage that puts a value in the place of the first value of the file's object."""
    return lambda data: data.replace(b":", b": " + text + b', "old":', 1)


DAMAGES: dict[str, Damage] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "last bytes lost": lambda data: data.rstrip()[:-1],
    "first byte flipped": lambda data: bytes([data[0] ^ 0xFF]) + data[1:],
    "a byte flipped": lambda data: data[:20] + bytes([data[20] ^ 0xFF]) + data[21:],
    "all NUL": lambda data: bytes(len(data)),
    "end NUL": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "a NUL": lambda data: data[:20] + b"\0" + data[20:],
    "deep lists": lambda data: b"[" * LEVELS,
    "deep closed lists": lambda data: b"[" * LEVELS + b"]" * LEVELS,
    "deep objects": lambda data: b'{"a":' * LEVELS + b"1" + b"}" * LEVELS,
    "a text": lambda data: b'"text"',
    "a list": lambda data: b"[1]",
    "an empty object": lambda data: b"{}",
    "UTF-16": lambda data: data.decode("latin-1").encode("utf-16"),
}
"""Damages to any file, by name."""

JSON_DAMAGES: dict[str, Damage] = {
    "deep value": _put(b"[" * LEVELS + b"]" * LEVELS),
    "900 levels": _put(b"[" * 900 + b"]" * 900),
    "NaN": _put(b"NaN"),
    "Infinity": _put(b"[-Infinity]"),
    "1e999": _put(b"1e999"),
    "long number": _put(b"1" * DIGITS),
    "number of 4,000 digits": _put(b"1" * 4_000),
    "half a character": _put(b'"\\ud800"'),
}
"""Damages to a JSON object, by name. Each puts a value in the place of the first one."""

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 2**31, 2**63, -(2**63) - 1, 10**99, 10**400),
    *(0.5, -0.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf")),
    *("", " ", "a", "true", "cue", "\0", "é", "\ud800", "x" * 3_000, "no effusion", "-1", "1e9"),
    *([], [None], [[]], [1, 2], ["a"], [{}], [1, "a"], {}, {"a": 1}, {"": None}, {"id": {"a": []}}),
)
"""Values that a reader may find in the place of another."""


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every container in a JSON value with each of its keys or indices."""
    places, left = [], [value]
    while left:
        container = left.pop()
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for key, part in items:
            places.append((container, key))
            if isinstance(part, dict | list):
                left.append(part)
    return places


def changed(rng: Random, value: Any) -> Any:
    """Return a JSON value with one part replaced, removed, doubled or renamed."""
    value = json.loads(json.dumps(value))
    container, key = rng.choice(_places(value) or [([value], 0)])
    kind = rng.randrange(8)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[rng.choice(["", "x", key + "s", key.upper()])] = container.pop(key)
    elif kind == 2:
        container[key] = [container[key]] * rng.randrange(3)
    elif kind == 3:
        deep: Any = 1
        for level in range(rng.choice([20, 90, 105, 300])):
            deep = [deep] if level % 2 else {"a": deep}
        container[key] = deep
    elif kind == 4 and isinstance(container, list):
        container.insert(key, rng.choice(container))
    else:
        container[key] = rng.choice(VALUES)
    return value


_NUMBERS = (
    *(b"NaN", b"Infinity", b"-", b"1" * DIGITS, b"1" * 4_000, b"0" * DIGITS, b"1e999", b"1e-999"),
    *(b"1e" + b"9" * DIGITS, b"0." + b"1" * DIGITS, b"-0", b"01", b"0x1", b"1_0", b"1e5"),
)
_BYTES = (
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\\",
    b'"',
    b"'",
    b"\r",
    b"\xef\xbb\xbf",
    b",",
)


def torn(rng: Random, data: bytes, levels: int = LEVELS) -> bytes:
    """Return bytes that are cut off, flipped, or hold what should not be there.

    Few hold lists in lists, of so many levels, since those take long.
    """
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    kind = rng.randrange(40)
    if kind < 5:
        return data[:start]
    if kind < 10:
        return data[:start] + data[end:]
    if kind < 13:
        return data[:start] + data[start:end][:200] * 2 + data[end:]
    if kind < 17:
        return data[:start] + rng.choice(_NUMBERS) + data[start:]
    if kind == 17:
        return data[:start] + rng.choice((b"[", b'{"a":', b"{", b"[1,")) * levels + data[start:]
    if kind < 21:
        return data[:start] + bytes(min(end - start, 50)) + data[end:]
    if kind < 28:
        return data[:start] + rng.choice(_BYTES) + data[start:]
    flipped = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 3, 10)) if data else 0):
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def number_replaced(rng: Random, data: bytes) -> bytes:
    """Return JSON with one value behind a colon replaced by an unusual number."""
    colons = [index for index, byte in enumerate(data) if byte == ord(":")]
    if not colons:
        return rng.choice(_NUMBERS)
    start = rng.choice(colons) + 1
    ends = [i for i in (data.find(mark, start) for mark in (b",", b"}")) if i >= 0]
    return data[:start] + rng.choice(_NUMBERS) + data[min(ends, default=start) :]


def damaged_json(rng: Random, value: Any) -> bytes:
    """Return the bytes of a JSON value, with a damage to the value or to its bytes."""
    kind = rng.randrange(4)
    if kind < 2:
        return json.dumps(changed(rng, value)).encode()
    data = json.dumps(value).encode()
    return torn(rng, data) if kind == 2 else number_replaced(rng, data)
