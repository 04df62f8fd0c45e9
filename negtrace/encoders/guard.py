"""Guard around a model: one thread at a time, and one kind of error for all that a model raises."""

__all__ = ["exclusive", "guarded", "uncompiled"]

import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from weakref import WeakKeyDictionary

import torch
from torch import nn

from negtrace.errors import EncoderError, NegtraceError

_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_NEW_LOCK = threading.Lock()

_COMPILER = "torch._dynamo"


class _Stance:
    """Setting of torch's compiler, which is one for all threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.setting = ExitStack()
        """Holds the setting while it is in force."""
        self.is_set = False


_STANCE = _Stance()


def exclusive(model: nn.Module) -> AbstractContextManager[object]:
    """Return the lock of a model; other threads wait for it, since a hook acts on all of them.

    A wrapper with one child, such as a compiled model or a model of peft, has its child's lock.
    """
    with _NEW_LOCK:
        return _LOCKS.setdefault(_innermost(model), threading.RLock())


def _innermost(model: nn.Module) -> nn.Module:
    while len(children := list(model.children())) == 1:
        [model] = children
    return model


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

    Raises:
        EncoderError: says what was tried, in which module it failed, and the way out.
    """
    try:
        yield
    except NegtraceError:
        raise
    except torch.OutOfMemoryError as error:
        raise EncoderError(
            f"{name}: out of memory while {action}; lower row_tokens, load the model in half "
            "precision, or free memory on the device"
        ) from error
    except Exception as error:  # code of any model can raise anything
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        raise EncoderError(
            f"{name}: while {action}, {_failing_module(model, error.__traceback__)} raised "
            f"{type(error).__name__}: {reason[:200]}. If the model needs another call, give it: "
            "negtrace.wrap(module, tokenizer, encode=...), with a function from token ids "
            "[row, token] to embeddings [row, dim]"
        ) from error


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
