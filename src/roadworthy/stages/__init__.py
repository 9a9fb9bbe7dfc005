"""The seven stages, one run(record, …) each."""
