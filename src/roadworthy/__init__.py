"""Roadworthy: one declared standard, from raw rows to monitored production."""
