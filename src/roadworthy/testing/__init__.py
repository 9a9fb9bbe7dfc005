"""Public conformance checks and in-memory implementations of every protocol."""
