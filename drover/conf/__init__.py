"""Configuration: one typed group a file, read by oslo.config, injected everywhere.

``etc/drover.conf.sample`` and docs/configuration.md are generated from these classes.
"""

from drover.conf.settings import Configuration, load, setting

__all__ = ["Configuration", "load", "setting"]
