"""Guard around a model: one thread at a time, and one kind of error for all that a model raises."""

__all__ = ["exclusive", "guarded", "guards", "reason_of", "uncompiled"]

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from types import TracebackType
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from negtrace.errors import EncoderError, NegtraceError

_LOCKS: WeakKeyDictionary[nn.Module, "_Lock"] = WeakKeyDictionary()
"""Lock of every module that has been part of a locked model."""
_LOCKS_OF: WeakKeyDictionary[nn.Module, list["_Lock"]] = WeakKeyDictionary()
"""Locks of the modules of a model, in the order in which they are taken."""
_NEW_LOCK = threading.Lock()
_NUMBERS = count()

_GUARDS = threading.local()
"""Number of guards around the work of a thread, as `depth`."""

_COMPILER = "torch._dynamo"


class _Lock(NamedTuple):
    """Lock of some modules. Locks are taken by their numbers, so that no two threads wait."""

    number: int
    lock: threading.RLock


class _Stance:
    """Setting of torch's compiler, which is one for all threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.setting = ExitStack()
        """Holds the setting while it is in force."""
        self.is_set = False


_STANCE = _Stance()


@contextmanager
def exclusive(model: nn.Module) -> Iterator[None]:
    """Keep other threads from a model inside the `with`, since a hook acts on all of them.

    They wait with any model that has a module in common with it: another part of the same model, or
    a wrapper around it, such as a compiled model or a model of peft.
    """
    with ExitStack() as stack:
        for each in _locks_of(model):
            stack.enter_context(each.lock)
        yield


def _locks_of(model: nn.Module) -> list[_Lock]:
    """Return the locks of the modules of a model: one, unless parts of it were locked before."""
    with _NEW_LOCK:
        if model not in _LOCKS_OF:
            modules = list(model.modules())
            new = _Lock(next(_NUMBERS), threading.RLock())
            locks = {_LOCKS.setdefault(module, new) for module in modules}
            _LOCKS_OF[model] = sorted(locks, key=lambda each: each.number)
        return _LOCKS_OF[model]


@contextmanager
def uncompiled() -> Iterator[None]:
    """Let models of `torch.compile` run their own code inside the `with`.

    torch has one such setting for all threads, so the last one to leave puts it back.
    """
    with _STANCE.lock:
        _STANCE.users += 1
        # Where nothing is compiled, the compiler need not be imported.
        if not _STANCE.is_set and _COMPILER in sys.modules:
            _STANCE.setting.enter_context(torch.compiler.set_stance("force_eager"))
            _STANCE.is_set = True
    try:
        yield
    finally:
        with _STANCE.lock:
            _STANCE.users -= 1
            if not _STANCE.users:
                _STANCE.setting.close()
                _STANCE.is_set = False


@contextmanager
def guarded(name: str, model: nn.Module, action: str) -> Iterator[None]:
    """Turn whatever a model raises inside the `with` into an EncoderError.

    Args:
        name: name of the encoder.
        model: the model that runs.
        action: what is done with it, as in "while {action}".

    What is no `Exception` passes, such as Ctrl-C. A model that calls `sys.exit` does not end the
    program; a handler of signals that does so, does.

    Raises:
        EncoderError: says what was tried, in which module it failed, and the way out.
    """
    _GUARDS.depth = guards() + 1
    try:
        yield
    except NegtraceError:
        raise
    except torch.OutOfMemoryError as error:
        raise EncoderError(
            f"{name}: out of memory while {action}; lower row_tokens, load the model in half "
            "precision, or free memory on the device"
        ) from error
    except (Exception, SystemExit) as error:  # code of any model can raise anything
        if isinstance(error, SystemExit) and _of_a_signal(error.__traceback__):
            raise
        raise EncoderError(
            f"{name}: while {action}, {_failing_module(model, error.__traceback__)} raised "
            f"{type(error).__name__}: {reason_of(error) or 'no message'}. If the model "
            "needs another call, give it: negtrace.wrap(module, tokenizer, encode=...), with a "
            "function from token ids [row, token] to embeddings [row, dim]"
        ) from error
    finally:
        _GUARDS.depth -= 1


def guards() -> int:
    """Return the number of guards around the work of this thread."""
    return getattr(_GUARDS, "depth", 0)


def reason_of(error: BaseException, longest: int = 200) -> str:
    """Return the first line of an error's message, which may be long, empty or broken."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # its own code writes it
        lines = ["its message cannot be read"]
    if not lines:
        return ""
    # Where the first line ends in a colon, the next one holds the reason.
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:longest]


def _of_a_signal(traceback: TracebackType | None) -> bool:
    """Return whether a handler of signals raised an error with this traceback."""
    handlers = {
        getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()
    }
    while traceback is not None:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False


def _failing_module(model: nn.Module, traceback: TracebackType | None) -> str:
    """Return the name and class of the innermost module of the model in a traceback."""
    names = {id(module): name for name, module in model.named_modules()}
    failing: nn.Module = model
    while traceback is not None:
        owner = traceback.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and id(owner) in names:
            failing = owner
        traceback = traceback.tb_next
    kind = type(failing).__name__
    name = names[id(failing)]
    return f"{name} ({kind})" if name else kind
