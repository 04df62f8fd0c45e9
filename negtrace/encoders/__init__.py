"""Wrapped models: one abstract contract, one module per family."""
