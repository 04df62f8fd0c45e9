"""Readers of source files: one module for each layout, behind the registry in `base`."""
