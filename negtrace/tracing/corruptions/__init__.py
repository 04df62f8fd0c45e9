"""Corruptions, one a file: ways to destroy the negation in the true statement of a pair."""
