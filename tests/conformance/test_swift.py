# SPDX-License-Identifier: Apache-2.0
"""The swift driver against the kit, on a real Swift: TempAuth and Keystone, threads and green."""

from __future__ import annotations

import contextlib

import pytest

from glance_lite.store import ObjectNotFound
from glance_lite.testing.stores import StoreConformance
from tests.backends import keystone, swift
from tests.backends.swift_stores import Tenants, keystone_settings, make_store
from tests.conformance import green
from tests.sizes import full

pytestmark = pytest.mark.peer

MIB = 1024 * 1024


@pytest.fixture(scope='class')
def store(request):
    return request.cls.make()


class Cases(StoreConformance):
    large = 4 * MIB

    @staticmethod
    def make():
        return make_store(swift.swift('tempauth'))

    @pytest.fixture
    def driver(self, store):
        yield store
        for url, _, _ in store.list():
            store.delete(store.parse(url))


class TestSwift(Cases):
    #: more than five segments
    large = full(5 * MIB + 1, 1024 * MIB + 1)


class TestSeveralContainers(Cases):
    @staticmethod
    def make():
        return make_store(swift.swift('tempauth'), swift_store_multiple_containers_seed=1)


class TestWithKeystone(Cases):
    @staticmethod
    def make():
        server, region = swift.swift('keystone'), keystone.cloud().region()
        swift.serve(server, region)
        account = region.user('images', roles=(swift.OPERATOR,))
        return make_store(server, **keystone_settings(region, account))


class TestAccountsOfProjects(Cases):
    @staticmethod
    def make():
        acting = Tenants().as_owner()
        acting.schemes = ('swift+http', *acting.schemes)  # which the catalog has here
        return acting

    @pytest.fixture
    def driver(self, store):
        yield store
        for url in self._added:
            with contextlib.suppress(ObjectNotFound):
                store.delete(store.parse(url))


def test_under_eventlet():
    green.passes(__file__, 'TestSwift')
