"""Tables. No server defaults, no triggers, no SQL clocks: every value is written by code that a test can run.

Times are UTC text of :func:`drover.clock.to_iso` (sorts as time, same on both databases). JSON is text by
:mod:`drover.objects.codec`.
"""

from __future__ import annotations

from drover.db.schema.base import metadata
from drover.db.schema.catalog import deployment, flavor, image, keypair, network, port, quota
from drover.db.schema.host import (
    aggregate,
    aggregate_host,
    forgotten_host,
    host,
    host_capacity,
    host_failure,
    host_quarantine,
    orphan,
)
from drover.db.schema.instance import instance, instance_secret, server_group, server_group_member
from drover.db.schema.operation import allocation, decision, idempotency, operation, operation_log
from drover.db.schema.service import alarm, service

__all__ = [
    "aggregate",
    "aggregate_host",
    "alarm",
    "allocation",
    "decision",
    "deployment",
    "flavor",
    "forgotten_host",
    "host",
    "host_capacity",
    "host_failure",
    "host_quarantine",
    "idempotency",
    "image",
    "instance",
    "instance_secret",
    "keypair",
    "metadata",
    "network",
    "operation",
    "operation_log",
    "orphan",
    "port",
    "quota",
    "server_group",
    "server_group_member",
    "service",
]
