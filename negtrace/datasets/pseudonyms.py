"""Pseudonyms: keyed hashes that stand for patients and studies in a data set.

Without the key nobody can find out whether a name is in the data, also not by trying all names. Who
has the key can: it links the rows of one patient across data sets, and names back to rows.
"""

__all__ = ["Pseudonyms", "key_of"]

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from negtrace.errors import DatasetError, OutputError

LENGTH = 16
"""Hexadecimal digits of a pseudonym. Among ten million names, two share one with a probability of
3 in a million."""

SHORTEST = 16
"""Bytes of the shortest key that is taken."""


class Pseudonyms:
    """Keyed hashes (HMAC-SHA256) of names.

    >>> names = Pseudonyms(b"0123456789abcdef")
    >>> names.of("patient", "p10000032") == names.of("patient", "p10000032")
    True
    >>> names.of("patient", "1") == names.of("study", "1")
    False

    Args:
        key: the secret.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, kind: str, name: str) -> str:
        """Return the pseudonym of a name; names of two kinds never share one."""
        message = f"{kind}\x1f{name}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, message, "sha256").hex()[:LENGTH]

    @property
    def check(self) -> str:
        """Value that two data sets share if they were made with one key. It tells nothing else."""
        return self.of("key", "")


def key_of(path: Path | None) -> bytes:
    """Return the key in a file; make the file, for its owner alone, if there is none.

    Args:
        path: the file; `negtrace/key` in the user's folder of settings when not given.

    Raises:
        DatasetError: for a key that is too short, or a file that cannot be read.
        OutputError: when the file cannot be made.
    """
    path = path or _default()
    try:
        key = path.read_bytes().strip() if path.exists() else _made(path)
    except OutputError:
        raise
    except OSError as error:
        raise DatasetError(
            f"the key file {path} cannot be read ({error.strerror}); name another with key_file"
        ) from error
    if len(key) < SHORTEST:
        raise DatasetError(
            f"the key file {path} holds {len(key)} bytes; expected {SHORTEST} or more. Name a file "
            "that does not exist yet, and it is made"
        )
    return key


def _default() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "negtrace" / "key"


def _made(path: Path) -> bytes:
    """Write a new key into a file that only its owner can read, and return it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
        with suppress(FileExistsError):  # another run made it meanwhile
            os.link(temporary, path)
    except OSError as error:
        raise OutputError(
            f"the key file {path} cannot be made ({error.strerror}); name another with key_file"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return path.read_bytes().strip()
