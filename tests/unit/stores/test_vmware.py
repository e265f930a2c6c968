# SPDX-License-Identifier: Apache-2.0
"""Urls and settings of the vmware driver: all that needs no server."""

from __future__ import annotations

import socket

import pytest

from glance_lite.store import BadStoreConfiguration, BadStoreUri, StoreError, StoreUnavailable
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import make_driver
from store_drivers.vmware import File, VMwareStore
from store_drivers.vmware_datastores import Datastore

TWO = ['dc/one:fast:10', 'dc/one:slow']


def store(**settings):
    values = {
        'vmware_server_host': 'vc.example',
        'vmware_server_username': 'user',
        'vmware_server_password': 'secret',
        'vmware_datastores': TWO,
        **settings,
    }
    return make_driver(VMwareStore, 'vsphere', **values)


# --- urls


@pytest.mark.parametrize(
    'url',
    [
        # As Glance writes it, and with the query in the other order.
        'vsphere://vc.example/folder/openstack_glance/name?dsName=fast&dcPath=dc%2Fone',
        'vsphere://vc.example/folder/openstack_glance/name?dcPath=dc/one&dsName=fast',
        'vsphere://VC.example:443/folder/openstack_glance/name?dsName=fast&dcPath=dc%2Fone',
        # Of an ESX server, which has one datacenter.
        'vsphere://vc.example/folder/openstack_glance/name?dsName=fast',
    ],
)
def test_urls_that_glance_has_written_are_read(url):
    assert store().parse(url) == File(Datastore('dc/one', 'fast'), 'name')
    assert store().owns(url)


GOOD = 'dsName=fast&dcPath=dc%2Fone'


@pytest.mark.parametrize(
    'url',
    [
        f'vsphere://other.example/folder/openstack_glance/name?{GOOD}',
        f'vsphere://vc.example:444/folder/openstack_glance/name?{GOOD}',
        f'vsphere://vc.example:none/folder/openstack_glance/name?{GOOD}',
        f'vsphere://vc.example/folder/name?{GOOD}',
        f'vsphere://vc.example/openstack_glance/name?{GOOD}',
        f'vsphere://vc.example/folder/openstack_glance/../vm/disk.vmdk?{GOOD}',
        f'vsphere://vc.example/folder/openstack_glance/%2e%2e?{GOOD}',
        f'vsphere://vc.example/folder/openstack_glance/a%2fb?{GOOD}',
        f'vsphere://vc.example/folder/openstack_glance/a%00b?{GOOD}',
        f'vsphere://vc.example/folder/openstack_glance/?{GOOD}',
        f'vsphere://vc.example/folder/openstack_glance/name?{GOOD}#part',
        f'vsphere://vc.example/folder/openstack_glance/name?{GOOD}&more=1',
        'vsphere://vc.example/folder/openstack_glance/name',
        'vsphere://vc.example/folder/openstack_glance/name?dsName=none',
        'vsphere://vc.example/folder/openstack_glance/name?dcPath=dc%2Fone',
        f'https://vc.example/folder/openstack_glance/name?{GOOD}',
    ],
)
def test_other_urls_are_refused(url):
    with pytest.raises(BadStoreUri):
        store().parse(url)
    assert not store().owns(url)


@pytest.mark.parametrize(
    ('url', 'file'),
    [
        (
            f'vsphere://vc.example/folder/vm/old/name?{GOOD}',
            File(Datastore('dc/one', 'fast'), 'name', 'vm/old'),
        ),
        (
            'vsphere://vc.example/folder/openstack_glance/name?dsName=none&dcPath=dc%2Fone',
            File(Datastore('dc/one', 'none'), 'name'),
        ),
        (
            'vsphere://vc.example/folder/openstack_glance/name?dsName=fast&dcPath=dc%2Ftwo',
            File(Datastore('dc/two', 'fast'), 'name'),
        ),
    ],
)
def test_what_lies_elsewhere_is_read_and_not_registered(url, file):
    """Disks of machines lie there, too; what is stored has been ours once."""
    assert store().parse(url) == file
    assert not store().owns(url)


@pytest.mark.parametrize(
    ('host', 'authority'),
    [
        ('vc.example', 'vc.example'),
        ('vc.example:443', 'vc.example'),
        ('vc.example:8443', 'vc.example:8443'),
        ('10.0.0.1', '10.0.0.1'),
        ('fd00::1', '[fd00::1]'),
        ('[fd00::1]:8443', '[fd00::1]:8443'),
    ],
)
def test_the_host_may_have_a_port(host, authority):
    driver = store(vmware_server_host=host, vmware_datastores=TWO[:1])
    urls = driver.locate('name')
    assert urls[0] == f'vsphere://{authority}/folder/openstack_glance/name?{GOOD}'
    assert [driver.parse(url).name for url in urls] == ['name', 'name.part', 'name.claim']


def test_a_name_may_lie_on_each_datastore_and_is_claimed_on_one():
    driver = store()
    found = [(file.datastore.name, file.name) for file in map(driver.parse, driver.locate('name'))]
    assert found == [
        ('fast', 'name'), ('fast', 'name.part'), ('slow', 'name'), ('slow', 'name.part'),
        ('fast', 'name.claim'),
    ]  # fmt: skip


def test_credentials_in_a_url_are_not_shown():
    redacted = store().redact('vsphere://user:secret@vc.example/folder/a/b?dsName=fast')
    assert redacted == 'vsphere://vc.example/folder/a/b?dsName=fast'


@pytest.mark.parametrize('name', ['', '.hidden', 'a/b', 'name.part', 'n\u00e4me', 'a' * 300])
def test_names_that_no_image_has(name):
    with pytest.raises(StoreError, match='not a name'):
        store().add(name, Source(b'data'), 4)


# --- settings


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({'vmware_server_host': None}, 'server_host: must be set'),
        ({'vmware_server_username': None}, 'server_username: must be set'),
        ({'vmware_server_password': ''}, 'server_password: must be set'),
        ({'vmware_datastores': None}, 'datastores: must be set'),
        ({'vmware_server_host': 'https://vc.example'}, 'server_host: must be HOST'),
        ({'vmware_server_host': 'vc.example:port'}, 'server_host: must be HOST'),
        ({'vmware_server_host': 'user@vc.example'}, 'server_host: must be HOST'),
        ({'vmware_server_host': 'vc.example/x'}, 'server_host: must be HOST'),
        ({'vmware_datastores': ['fast']}, 'datastores: fast is not DATACENTER'),
        ({'vmware_datastores': ['dc::1']}, 'datastores: dc::1 is not DATACENTER'),
        ({'vmware_datastores': ['dc:fast:heavy']}, 'datastores: dc:fast:heavy is not DATACENTER'),
        ({'vmware_datastores': ['dc:fast:1', 'dc:fast:2']}, 'datastores: dc:fast is there twice'),
        ({'vmware_store_image_dir': '/'}, 'store_image_dir: must be a path'),
        ({'vmware_store_image_dir': 'a/../b'}, 'store_image_dir: must be a path'),
        ({'vmware_ca_file': '/nowhere.pem'}, 'ca_file: /nowhere.pem cannot be read'),
        ({'vmware_thumbprint': 'AB:CD'}, 'thumbprint: must be 40 or 64 hexadecimal digits'),
    ],
)
def test_settings_that_cannot_be_right(settings, sentence):
    with pytest.raises(BadStoreConfiguration, match=rf'\[vsphere\] vmware_{sentence}') as error:
        store(**settings)
    assert 'secret' not in str(error.value)


def test_a_datacenter_may_have_colons_before_it():
    found = store(vmware_datastores=['a:dc:fast:3', ' dc : slow '])._datastores.which
    assert [(one.datacenter, one.name, one.weight) for one in found] == [
        ('a:dc', 'fast', 3), ('dc', 'slow', 0),
    ]  # fmt: skip


def test_nobody_listens():
    """The service comes up without it."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
    driver = store(vmware_server_host=f'127.0.0.1:{port}', vmware_api_retry_count=1)
    with pytest.raises(StoreUnavailable, match='Store vsphere failed') as error:
        driver.start()
    assert 'ACCESS' not in str(error.value) and 'secret' not in str(error.value)
