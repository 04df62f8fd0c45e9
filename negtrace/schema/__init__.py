"""What negtrace's files hold: the published JSON Schema, the raw file, checks, provenance."""

__all__ = ["checks", "files", "provenance", "raw"]

from negtrace.schema import checks, files, provenance, raw
