"""See where a text encoder processes negation: causal tracing for vision-language models."""

__all__ = ["__version__"]

__version__ = "0.1.0"
