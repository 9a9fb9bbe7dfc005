"""Typed requirements, the metric catalogue and the pure judge."""
