"""Flavors, networks and keypairs: checked whole, then written in one transaction."""

from __future__ import annotations

from dataclasses import replace

from conductor.rule.flavor import check_flavor
from conductor.rule.keypair import check_keypair
from conductor.rule.network import check_overlap, complete
from conductor.rule.page import check_limit
from drover import log, retry
from drover.db import catalog
from drover.db.engine import Database
from drover.db.turn import Turn, take
from drover.objects.catalog import Flavor, Keypair, Network
from drover.objects.page import EVERY, ListFilter
from drover.rpc.context import RequestContext
from drover.runtime import Runtime

__all__ = ["CatalogWorkflow"]

LOG = log.get(__name__)


class CatalogWorkflow:
    """The catalog's part of :class:`drover.rpc.conductor.ConductorAPI`; images have their own."""

    def __init__(self, database: Database, runtime: Runtime) -> None:
        self._database = database
        self._runtime = runtime

    # --- flavors ---------------------------------------------------------------------------------------------

    def flavor_create(self, ctx: RequestContext, flavor: Flavor) -> Flavor:
        """:raises errors.InvalidFlavor: or InvalidName, NameTaken: nothing was written."""
        check_flavor(flavor)
        new = replace(flavor, id=flavor.id.lower() or self._runtime.uuid(), created_at=self._runtime.clock.now())
        with self._database.write() as conn:
            catalog.put_flavor(conn, new)
        LOG.info("flavor created", request_id=ctx.request_id, flavor=new.name, id=new.id)
        return new

    def flavor_list(self, _ctx: RequestContext, query: ListFilter = EVERY) -> tuple[Flavor, ...]:
        check_limit(query.limit)
        with self._database.read() as conn:
            return catalog.list_flavors(conn, query)

    def flavor_delete(self, ctx: RequestContext, ref: str) -> Flavor:
        """Instances made from it keep what they have.

        :raises errors.FlavorNotFound: no such flavor.
        """
        with self._database.write() as conn:
            gone = catalog.delete_flavor(conn, ref)
        LOG.info("flavor deleted", request_id=ctx.request_id, flavor=gone.name, id=gone.id)
        return gone

    # --- networks --------------------------------------------------------------------------------------------

    def network_create(self, ctx: RequestContext, network: Network) -> Network:
        """:raises errors.InvalidNetwork: or InvalidName, NameTaken: nothing was written."""
        asked = complete(replace(network, id=network.id.lower() or self._runtime.uuid()))
        new = retry.while_busy(self._runtime, lambda: self._write_network(asked))
        LOG.info("network created", request_id=ctx.request_id, network=new.name, id=new.id, cidr=new.cidr)
        return new

    def _write_network(self, asked: Network) -> Network:
        with self._database.write() as conn:
            take(conn, Turn.NETWORKS)  # else two that overlap could both find no overlap
            others = catalog.list_networks(conn)
            new = replace(asked, mac_index=catalog.free_mac_index(conn), created_at=self._runtime.clock.now())
            catalog.put_network(conn, new)  # first, so that a name that is taken is told as that
            check_overlap(new, others)
            return new

    def network_list(self, _ctx: RequestContext, query: ListFilter = EVERY) -> tuple[Network, ...]:
        check_limit(query.limit)
        with self._database.read() as conn:
            return catalog.list_networks(conn, query)

    def network_delete(self, ctx: RequestContext, ref: str) -> Network:
        """:raises errors.NetworkNotFound: no such network.
        :raises errors.InUse: instances have ports in it.
        """
        with self._database.write() as conn:
            gone = catalog.delete_network(conn, ref)
        LOG.info("network deleted", request_id=ctx.request_id, network=gone.name, id=gone.id)
        return gone

    # --- keypairs --------------------------------------------------------------------------------------------

    def keypair_create(self, ctx: RequestContext, name: str, public_key: str) -> Keypair:
        """:raises errors.InvalidKeypair: or InvalidName, NameTaken: nothing was written."""
        line, fingerprint = check_keypair(name, public_key)
        new = Keypair(
            name=name,
            public_key=line,
            fingerprint=fingerprint,
            project_id=ctx.project_id,
            created_at=self._runtime.clock.now(),
        )
        with self._database.write() as conn:
            catalog.put_keypair(conn, new)
        LOG.info("keypair created", request_id=ctx.request_id, keypair=name, fingerprint=fingerprint)
        return new

    def keypair_list(self, ctx: RequestContext, query: ListFilter = EVERY) -> tuple[Keypair, ...]:
        check_limit(query.limit)
        with self._database.read() as conn:
            return catalog.list_keypairs(conn, ctx.project_id, query)

    def keypair_delete(self, ctx: RequestContext, name: str) -> Keypair:
        """Instances made with it keep the key.

        :raises errors.KeypairNotFound: no such keypair in the project.
        """
        with self._database.write() as conn:
            gone = catalog.delete_keypair(conn, ctx.project_id, name)
        LOG.info("keypair deleted", request_id=ctx.request_id, keypair=name)
        return gone
