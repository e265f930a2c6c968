# SPDX-License-Identifier: Apache-2.0
"""The vmware driver and glance_store's on the same datastores: what one stores the other reads."""

from __future__ import annotations

import os
import socket
import uuid

import pytest

from glance_lite.model import Location, Wanted
from glance_lite.store import BadStoreUri, ObjectExists, ObjectNotFound
from glance_lite.testing.faults import Source
from glance_lite.testing.layers import make_image, make_parts
from glance_lite.testing.stores import pattern
from store_drivers.vmware import VMwareStore
from tests.backends import databases, vcsim
from tests.conformance.test_vmware import make_store
from tests.peers.published import Published, Refused

pytestmark = pytest.mark.peer

MIB = 1024 * 1024
#: Of this process: theirs takes no port.
HOST = f'127.{os.getpid() >> 16 & 127}.{os.getpid() >> 8 & 255}.{os.getpid() & 255 | 2}'


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    try:
        socket.create_server((HOST, 443)).close()
    except OSError as ex:
        reason = f'Port 443 cannot be listened on: {ex.strerror}'
        if os.environ.get(databases.REQUIRE) == '1':
            pytest.fail(reason)
        pytest.skip(reason)
    with vcsim.running(tmp_path_factory.mktemp('vcsim') / 'own', HOST, 443) as server:
        yield server


def options(ours):
    """Theirs does without the options that have no value, and has no thumbprint."""
    return {name: value for name, value in ours.settings.items() if value is not None}


@pytest.fixture(scope='module')
def both(server):
    """Our driver and theirs."""
    which = [
        f'{vcsim.DATACENTER}:{name}:{weight}'
        for name, weight in zip(vcsim.DATASTORES, (10, 5), strict=True)
    ]
    ours = make_store(
        server,
        vmware_server_host=HOST,
        vmware_store_image_dir='/openstack_glance',
        vmware_datastores=which,
        vmware_task_poll_interval=1,
    )
    with Published('vmware', options(ours), several=False) as theirs:
        yield ours, theirs


def read(driver, url):
    return b''.join(driver.get(driver.parse(url)))


# Of a known size 0 theirs means an unknown one.
@pytest.mark.parametrize('size', [1, 5 * MIB])
def test_what_they_store_we_read_size_and_delete(both, size):
    ours, theirs = both
    name = str(uuid.uuid4())
    data = pattern(size)
    url = theirs.add(name, data, 'vsphere')
    assert url == ours.locate(name)[0]
    assert read(ours, url) == data and ours.size(ours.parse(url)) == size
    with pytest.raises(ObjectExists):
        ours.add(name, Source(b'other'), 5)
    ours.delete(ours.parse(url))
    with pytest.raises(Refused, match='NotFound'):
        theirs.size(url)


@pytest.mark.parametrize('sized', [True, False])
@pytest.mark.parametrize('size', [0, 1, 5 * MIB])
def test_what_we_store_they_read_size_and_delete(both, size, sized):
    ours, theirs = both
    data = pattern(size)
    url = ours.add(str(uuid.uuid4()), Source(data, sized=sized), size if sized else None)
    assert theirs.get(url) == data and theirs.size(url) == size
    theirs.delete(url)
    with pytest.raises(ObjectNotFound):
        ours.size(ours.parse(url))


def test_a_type_of_store_need_not_be_a_scheme(both):
    """With several stores theirs looks for a scheme called vmware; ours is asked by its url."""
    ours, _ = both
    url = ours.add(str(uuid.uuid4()), Source(b'data'), 4)
    with Published('vmware', options(ours)) as theirs:
        with pytest.raises(Refused, match='UnknownScheme'):
            theirs.get(url)
    assert read(ours, url) == b'data'
    ours.delete(ours.parse(url))


def test_what_was_stored_before_directory_and_datastores_were_changed(both):
    """A download was refused, and a delete left the data and said nothing."""
    ours, theirs = both
    url = theirs.add(str(uuid.uuid4()), b'data', 'vsphere')
    used = ours.parse(url).datastore.name
    other = next(name for name in vcsim.DATASTORES if name != used)
    which = [f'{vcsim.DATACENTER}:{other}']
    now = VMwareStore(
        'vsphere',
        {**ours.settings, 'vmware_store_image_dir': '/other', 'vmware_datastores': which},
    )
    now.start()
    assert read(now, url) == b'data' and now.size(now.parse(url)) == 4
    assert not now.owns(url)
    now.delete(now.parse(url))
    with pytest.raises(Refused, match='NotFound'):
        theirs.size(url)
    with pytest.raises(ObjectNotFound):
        now.delete(now.parse(url))
    for verb in (now.size, now.delete, now.get):
        with pytest.raises(BadStoreUri, match=r'vsphere: .*gone'):
            verb(now.parse(url.replace(used, 'gone')))


def test_the_gateway_finds_it_among_several_stores(server, both, tmp_path):
    """By the name of the store, and by the url alone for an image of Glance's single store."""
    ours, theirs = both
    url = theirs.add(str(uuid.uuid4()), b'data', 'vsphere')
    lines = [f'{name} = {value}' for name, value in options(ours).items() if value not in ('', [])]
    which = ours.settings['vmware_datastores']
    lines = [line for line in lines if not line.startswith('vmware_datastores')]
    gateway = make_parts(
        tmp_path,
        '[DEFAULT]\nenabled_backends = ram:memory, dc:vmware\n'
        '[glance_store]\ndefault_backend = ram\n[ram]\n[dc]\n'
        + '\n'.join([*lines, *(f'vmware_datastores = {one}' for one in which)]),
    ).gateway
    for metadata in ({'store': 'dc'}, {}):
        image = make_image('one', size=4, locations=(Location(1, url, metadata),))
        assert b''.join(gateway.open(image, Wanted())) == b'data'
    gateway.remove(Location(1, url, {'store': 'dc'}))
