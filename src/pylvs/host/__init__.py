"""What roles change on a machine: each change remembers what was there, so that it can be undone exactly."""
