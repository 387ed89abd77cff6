"""Schedulers: who gets the next connection."""
