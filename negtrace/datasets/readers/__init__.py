"""Readers of label files, structured records and reports, one module a layout."""
