"""Decisions: pure functions from rows and a moment to effects. No I/O, no clock, no chance."""
