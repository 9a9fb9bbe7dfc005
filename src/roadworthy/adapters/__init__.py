"""The outside world: files, SQL, object stores, trainers; the sole home of optional libraries."""
