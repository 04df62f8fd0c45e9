"""Engines: ways to compute the score of every patched cell; all give the same numbers."""
