"""An acceptance run against a lab or a live fleet: random verbs, faults, and the promises looked at from outside."""
