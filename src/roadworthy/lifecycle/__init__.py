"""Registry and audit chain."""
