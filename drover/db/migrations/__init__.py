"""Migrations, run by :mod:`drover.db.migration`."""
