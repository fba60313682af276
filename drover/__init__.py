"""Drover: a compute plane that never leaves anything stuck, lost or doubled."""

__version__ = "0.1.0"
