"""Values that cross a seam: frozen, slotted, keyword-only dataclasses of plain fields.

They travel as JSON by :mod:`drover.objects.codec`: unknown fields are ignored, missing ones take their
defaults, so that two releases can talk.
"""
