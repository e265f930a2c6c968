# SPDX-License-Identifier: Apache-2.0
"""Stores of type swift on the servers of `tests.backends.swift`, as several tests need them."""

from __future__ import annotations

import uuid

from glance_lite.store import Caller
from glance_lite.testing.stores import make_driver
from store_drivers.swift import SwiftStore
from tests.backends import keystone, swift


def make_store(server, **settings):
    """A driver with a container of its own, and segments as small as they can be."""
    user, key = next(iter(swift.TEMPAUTH.items()))
    values = {
        'swift_store_auth_address': server.auth_url,
        'swift_store_auth_version': '1',
        'swift_store_user': user,
        'swift_store_key': key,
        'swift_store_container': f'images{uuid.uuid4().hex[:12]}',
        'swift_store_create_container_on_put': True,
        'swift_store_large_object_size': 3,
        'swift_store_large_object_chunk_size': 1,
        **settings,
    }
    driver = make_driver(SwiftStore, 'swift', **values)
    driver.start()
    return driver


def keystone_settings(region, account):
    return {
        'swift_store_auth_address': region.cloud.url,
        'swift_store_auth_version': '3',
        'swift_store_user': f'{account.project}:{account.name}',
        'swift_store_key': keystone.PASSWORD,
        'swift_store_region': region.name,
    }


def catalog_of(connection):
    """The catalog of somebody's token, as the header X-Service-Catalog has it."""
    catalog = connection.session.auth.get_access(connection.session).service_catalog
    found = []
    for service in catalog.normalize_catalog():
        regions = {}
        for endpoint in service['endpoints']:
            urls = regions.setdefault(endpoint['region_id'], {'region': endpoint['region_id']})
            urls[f'{endpoint["interface"]}URL'] = endpoint['url']
        found.append({**service, 'endpoints': list(regions.values())})
    return tuple(found)


def caller_of(account):
    return Caller(account.project_id, account.token(), catalog_of(account.connect()))


class Tenants:
    """A store with accounts of projects, and people."""

    def __init__(self):
        self.server, self.region = swift.swift('keystone'), keystone.cloud().region()
        swift.serve(self.server, self.region)
        self.service = self.region.user('images', roles=(swift.OPERATOR,))
        swift.reseller(self.region.cloud, self.service)
        self.store = make_store(
            self.server,
            **keystone_settings(self.region, self.service),
            swift_store_multi_tenant=True,
            swift_store_create_container_on_put=False,
            swift_store_admin_tenants=['operators'],
        )
        self.owner = self.region.user('owner', roles=(swift.OPERATOR,))

    def as_owner(self):
        return self.store.acting_for(caller_of(self.owner))

    def somebody(self):
        """A user of another project, and the driver as it acts for them."""
        account = self.region.user('somebody', roles=(swift.OPERATOR,))
        return account, self.store.acting_for(caller_of(account))

    def as_service(self):
        return self.store.acting_for(Caller(self.owner.project_id))
