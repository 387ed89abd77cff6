"""Directors: the interface that holds services, and its implementations."""
