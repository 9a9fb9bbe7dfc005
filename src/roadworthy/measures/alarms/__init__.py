"""When a person is called: one budget of false alarms divided over everything that is watched, and what fits in it."""
