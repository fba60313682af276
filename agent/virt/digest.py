"""What a guest is made of, as one short text: drivers stamp it into their guests."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from drover.objects.codec import to_json, to_plain
from drover.objects.guest import GuestSpec
from drover.objects.hardware import HardwareClaim

__all__ = ["spec_digest"]


def spec_digest(spec: GuestSpec) -> str:
    """32 hex digits. Where the image came from and the token for it do not count: both may change with each order."""
    plain = to_plain(replace(spec, image=replace(spec.image, url="", token="")))
    if spec.hardware == HardwareClaim():
        del plain["hardware"]  # guests from before there was such a claim keep their digest
    return hashlib.sha256(to_json(plain).encode()).hexdigest()[:32]
