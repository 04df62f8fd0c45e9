"""Write docs/reference/api.md and docs/reference/commands.md from the code itself.

    python docs/make_reference.py

Run this after a change to a public name, a docstring or a command. A test compares both files.
"""

import ast
import contextlib
import importlib
import inspect
import io
import os
import re
from itertools import pairwise
from pathlib import Path
from typing import get_args

import negtrace
from negtrace.cli import COMMANDS, main

REFERENCE = Path(__file__).parent / "reference"
PACKAGE = Path(negtrace.__file__).parent

ROOMS = (
    "language",
    "phantom",
    "pairs",
    "results",
    "datasets",
    "encoders",
    "correction",
    "tracing",
    "bench",
    "training",
    "plots",
    "experiments",
)

EXTENSION_POINTS = (
    ("corruption", "tracing", "CORRUPTIONS", "corruption"),
    ("engine", "tracing", "ENGINES", "engine"),
    ("encoder family", "encoders", "FAMILIES", "encoder-family"),
    ("correction", "correction", "CORRECTIONS", "correction"),
    ("layer score", "results", "LAYER_SCORES", "layer-score"),
    ("plot", "plots", "PLOTS", "plot"),
    ("weighting", "training", "WEIGHTINGS", "weighting"),
    ("benchmark suite", "bench", "SUITES", "suite"),
    ("pair source", "pairs", "SOURCES", "pair-source"),
    ("data-set layout", "datasets", "LAYOUTS", "dataset-layout"),
)
"""Kind, room, registry and page of everything that can be added from outside."""


def user_names(room: str) -> dict[str, str]:
    """Return the public names of a room that are for users, each with its module."""
    stub = (PACKAGE / room / "__init__.pyi").read_text("utf-8")
    users = stub.split("# For the rooms that build on this one.")[0]
    return {
        alias.name: f"negtrace.{room}.{node.module}"
        for node in ast.parse(users).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def summary(room: str, name: str, module: str) -> str:
    """Return the first sentence that the code says about a public name."""
    value = getattr(importlib.import_module(f"negtrace.{room}"), name)
    documented = inspect.isclass(value) or inspect.isroutine(value)
    text = inspect.getdoc(value) if documented else attribute_doc(module, name)
    first = re.split(r"\n\n|(?<=[.:])\s", text or "", maxsplit=1)[0]
    return " ".join(first.split()).rstrip(".:")


def attribute_doc(module: str, name: str) -> str:
    """Return the string that stands below the assignment of a constant."""
    body = ast.parse(Path(importlib.import_module(module).__file__).read_text("utf-8")).body
    for assignment, below in pairwise(body):
        targets = getattr(assignment, "targets", [getattr(assignment, "target", None)])
        named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
        if named and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            return str(below.value.value)
    return ""


def api() -> str:
    """Return the API page."""
    lines = [
        "# API",
        "",
        "`python docs/make_reference.py` writes this page from the docstrings. `help` has the",
        "rest: arguments, shapes, units and errors.",
        "",
        "## Extension points",
        "",
        "Each has one registry. `sorted(REGISTRY)` lists the names; the page says how to add one.",
        "",
        "| to add | registry | names today | page |",
        "|---|---|---|---|",
    ]
    for kind, room, registry, page in EXTENSION_POINTS:
        names = getattr(importlib.import_module(f"negtrace.{room}"), registry)
        link = f"[write your own](../write-your-own/{page}.md)"
        listed = ", ".join(f"`{name}`" for name in names)
        lines.append(f"| {kind} | `negtrace.{room}.{registry}` | {listed} | {link} |")
    lines += ["", "## Top level", "", "| name | what it is |", "|---|---|"]
    for name in sorted(set(negtrace.__all__) - set(ROOMS) - {"__version__"}):
        text = inspect.getdoc(getattr(negtrace, name)) or ""
        first = " ".join(re.split(r"\n\n|(?<=[.:])\s", text, maxsplit=1)[0].split()).rstrip(".:")
        lines.append(f"| `negtrace.{name}` | {first} |")
    for room in ROOMS:
        about = inspect.getdoc(importlib.import_module(f"negtrace.{room}")) or ""
        lines += ["", f"## negtrace.{room}", "", about, "", "| name | what it is |", "|---|---|"]
        lines += [
            f"| `{name}` | {summary(room, name, module)} |"
            for name, module in sorted(user_names(room).items())
        ]
    return "\n".join(lines) + "\n"


def help_of(*arguments: str) -> str:
    """Return what a command prints for `--help`, 100 columns wide and without colours."""
    os.environ.update(COLUMNS="100", NO_COLOR="1", TERM="dumb")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*arguments, "--help"])
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed.getvalue())
    return "\n".join(line.rstrip() for line in plain.splitlines()).strip()


def command_names() -> list[str]:
    """Return the name of every command, in the order of `negtrace --help`."""
    return [get_args(command)[1].name for command in get_args(COMMANDS)]


def commands() -> str:
    """Return the page of commands."""
    lines = [
        "# Commands",
        "",
        "Written by `python docs/make_reference.py` from `negtrace COMMAND --help`.",
        "",
        "```text",
        help_of(),
        "```",
    ]
    for name in command_names():
        lines += ["", f"## negtrace {name}", "", "```text", help_of(name), "```"]
    return "\n".join(lines) + "\n"


def write() -> None:
    """Write both pages."""
    REFERENCE.mkdir(exist_ok=True)
    (REFERENCE / "api.md").write_text(api(), "utf-8")
    (REFERENCE / "commands.md").write_text(commands(), "utf-8")


if __name__ == "__main__":
    write()
