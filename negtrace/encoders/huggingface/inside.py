"""Paths that the files of a model name: they stay inside of the model's folder."""

__all__ = ["require_inside", "require_shards_inside"]

from pathlib import Path, PureWindowsPath

from negtrace._json import parse_json
from negtrace._messages import excerpt
from negtrace.errors import EncoderError


def require_inside(path: str, said_by: str) -> None:
    """Refuse a path that may lead out of a model's folder.

    >>> require_inside("1_Pooling/config.json", "bert: its modules.json")
    >>> require_inside("../payload", "bert: its modules.json")
    Traceback (most recent call last):
    negtrace.errors.EncoderError: bert: its modules.json names '../payload', which is outside of \
the model's folder; expected a place in the model's folder, such as 1_Pooling

    Args:
        path: the path, from the model's folder on.
        said_by: the model and its file that names the path, for the message.

    Raises:
        EncoderError: for a path with `..`, one that starts at a root or a drive, and one with
            characters that no path has.
    """
    windows = PureWindowsPath(path)  # splits at both kinds of slash
    if windows.anchor or ".." in windows.parts or not path.isprintable():
        raise EncoderError(
            f"{said_by} names {excerpt(path)}, which is outside of the model's folder; expected a "
            "place in the model's folder, such as 1_Pooling"
        )


def require_shards_inside(name: str, folder: Path) -> None:
    """Refuse a folder whose index of weights names a file elsewhere; transformers would read it.

    Raises:
        EncoderError: for such an index, and for one that is no index.
    """
    for index in sorted(folder.glob("*.index.json")):
        try:
            shards = set(parse_json(index.read_bytes(), foreign=True)["weight_map"].values())
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise EncoderError(
                f"{name}: cannot read its {index.name} ({error}); download or save the model again"
            ) from error
        for shard in shards:
            require_inside(str(shard), f"{name}: its {index.name}")
