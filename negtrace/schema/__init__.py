"""What negtrace's files hold: the published JSON Schema, the raw file, checks, provenance."""

__all__: list[str] = []
