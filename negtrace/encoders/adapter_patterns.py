"""Regular expressions in the configuration of an adapter: one that never ends is refused by name.

`(a+)+$` needs twice as long for every further letter, and nothing can stop Python's `re` in this
process. So each pattern is first matched with the names of the model's modules, as peft will do it,
in a process of its own that is stopped after `SECONDS`.
"""

__all__ = ["require_patterns_end"]

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from negtrace._messages import excerpt
from negtrace.errors import EncoderError

SECONDS = 10.0
"""The longest that the patterns of a field may take for all names. The 96 rank patterns of
`negtrace.training.peft_patterns` for a model of 120 blocks and 2,640 modules take 0.3 s, and the
process itself 0.02 s."""

FORMS = {
    "target_modules": "{}",
    "exclude_modules": "{}",
    "modules_to_save": r"(^|.*\.){}($|\..*)",
    "layers_pattern": r"(?:^|.*?\.){}\.(?P<idx>\d+)\.",
    "rank_pattern": r"(.*\.)?({})$",
    "alpha_pattern": r"(.*\.)?({})$",
}
"""Fields of peft's configuration that hold patterns, and the way in which peft matches each."""

_NAMES_ONLY = ("target_modules", "exclude_modules")
"""Fields that are a pattern as a text, but names as a list."""

_MATCH = """
import json, re, sys
patterns, names = json.load(sys.stdin)
for index, pattern in enumerate(patterns):
    print(index, flush=True)
    try:
        compiled = re.compile(pattern)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
    for name in names:
        compiled.fullmatch(name)
        compiled.match(name)
"""


def require_patterns_end(config: Any, names: Sequence[str], said_by: str) -> None:
    """Refuse a configuration with a pattern that takes too long, or that is none.

    Args:
        config: configuration of peft.
        names: names of the model's modules.
        said_by: the file of the configuration, for the message.

    Raises:
        EncoderError: names the field, the pattern and the bound.
    """
    for field, form in FORMS.items():
        patterns = list(_patterns(field, getattr(config, field, None)))
        bad = _first_bad([form.replace("{}", pattern) for pattern in patterns], names)
        if bad:
            index, problem = bad
            raise EncoderError(
                f"{said_by}: {field} is {excerpt(patterns[index])}, which {problem}; list the "
                "names of the modules instead"
            )


def _patterns(field: str, value: Any) -> Iterator[str]:
    """Yield the patterns in a field; peft refuses what is neither a text nor a list of texts."""
    if isinstance(value, str):
        yield value
    elif field not in _NAMES_ONLY and isinstance(value, list | tuple | set | dict):
        yield from (pattern for pattern in value if isinstance(pattern, str))


def _first_bad(patterns: Sequence[str], names: Sequence[str]) -> tuple[int, str] | None:
    """Return the index of the first pattern that cannot be used, and why; None if all can be."""
    if not patterns:
        return None
    program = [sys.executable, "-I", "-S", "-c", _MATCH]
    with subprocess.Popen(  # noqa: S603 - our own program; the patterns are its input
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            begun, said = process.communicate(json.dumps([patterns, names]).encode(), SECONDS)
            reason = said.decode(errors="replace").strip()
            problem = f"is no regular expression ({reason})" if process.returncode else ""
        except subprocess.TimeoutExpired:
            process.kill()
            begun, _ = process.communicate()
            problem = (
                f"takes more than {SECONDS:g} s to match the names of the model's "
                f"{len(names)} modules"
            )
        except BaseException:
            process.kill()
            raise
    return (len(begun.split()) - 1, problem) if problem else None
