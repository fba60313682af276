"""Nothing is shared but the suite: each driver's tests bring their own ``harness``."""
