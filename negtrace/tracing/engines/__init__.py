"""Engines: ways to compute the score of every patched cell."""
