# SPDX-License-Identifier: Apache-2.0
"""Events through the outbox to a real oslo.messaging bus in the memory of the process."""

from __future__ import annotations

import io
import logging
import queue
import socket

import oslo_messaging
import pytest
from oslo_messaging.notify import _impl_test

from glance_lite.errors import (
    Forbidden,
    GlanceLiteError,
    InUse,
    StoreUnavailable,
    UnsupportedMedia,
)
from glance_lite.layer import overrides
from glance_lite.layers.notifier import Notifier
from glance_lite.model import Changes, LocationStep, NewLocation, Query, Span, Wanted
from glance_lite.tasks import NewTask
from glance_lite.testing.layers import make_upload
from tests.unit.layers.conftest import admin, beta, owner

UPLOADED = ['image.update', 'image.prepare', 'image.upload', 'image.activate', 'image.update']
LAYERS = 'notifier, policy, quota, location, db'
BUS = '[oslo_messaging_notifications]\ndriver = test\ntransport_url = fake://\n'

PAYLOAD = {
    'id', 'name', 'status', 'created_at', 'updated_at', 'min_disk', 'min_ram', 'protected',
    'checksum', 'owner', 'disk_format', 'container_format', 'size', 'virtual_size', 'is_public',
    'visibility', 'properties', 'tags', 'deleted', 'deleted_at',
}  # fmt: skip
STORES = {'os_glance_importing_to_stores', 'os_glance_failed_import'}
OF_A_MEMBER = {
    'image_id', 'member_id', 'status', 'created_at', 'updated_at', 'deleted', 'deleted_at',
}  # fmt: skip


class Sent:
    """What oslo.messaging's own test driver was given: (priority, event type, payload)."""

    def __init__(self):
        self.senders = []

    def __call__(self):
        for sender in self.senders:
            sender.run()
        return [
            (priority, message['event_type'], message['payload'])
            for _, message, priority, _ in _impl_test.NOTIFICATIONS
        ]

    def names(self):
        return [name for _, name, _ in self()]


@pytest.fixture
def sent():
    _impl_test.reset()
    yield Sent()
    _impl_test.reset()


@pytest.fixture
def bus(make, sent):
    """Builds a chain that is on a bus."""

    def build(text='', rules=None, layers=LAYERS):
        made = make(layers, BUS + text, rules=rules)
        sent.senders.append(made.layer('notifier')._sender)
        return made

    return build


@pytest.fixture
def made(bus):
    return bus()


@pytest.mark.parametrize('driver', ['', 'driver =', 'driver = noop'])
def test_without_a_bus_it_is_left_out_of_the_chain(make, driver):
    made = make(LAYERS, f'[oslo_messaging_notifications]\n{driver}\n')
    assert not made.layer('notifier').acts()
    assert 'notifier' not in made.chain.acting['create_image']


def test_reading_announces_nothing(made, sent):
    image = made.create()
    made.outer.get_image(owner(), image.id)
    made.outer.list_images(owner(), Query())
    made.outer.list_members(owner(), image.id)
    made.outer.list_stores(owner(), False)
    assert sent() == []
    assert not {'get_image', 'peek', 'list_images'} & set(overrides(Notifier))


# --- what is sent


def test_the_life_of_an_image(made, sent):
    fields = {'name': 'n', 'disk_format': 'raw', 'container_format': 'bare'}
    image = made.outer.create_image(
        owner(), Changes(fields=fields, properties={'os_distro': 'debian'}, tags=frozenset('t'))
    )
    made.outer.update_image(owner(), image.id, Changes(fields={'name': 'new'}))
    active = made.outer.upload(owner(), image.id, make_upload(b'12345'), 'ram')
    made.outer.set_active(owner(), image.id, False)
    made.outer.set_active(owner(), image.id, True)
    made.outer.delete_image(owner(), image.id)
    events = sent()
    assert [name for _, name, _ in events] == [
        'image.create', 'image.update',
        'image.update', 'image.prepare', 'image.upload', 'image.activate', 'image.update',
        'image.update', 'image.update', 'image.delete',
    ]  # fmt: skip
    assert {priority for priority, _, _ in events} == {'INFO'}
    payloads = [payload for _, _, payload in events]
    create, update, saving, prepare, upload, activate, done, off, on, delete = payloads
    assert create == {
        'id': image.id,
        'name': 'n',
        'status': 'queued',
        'created_at': image.created_at.strftime('%Y-%m-%dT%H:%M:%SZ'),
        'updated_at': image.updated_at.strftime('%Y-%m-%dT%H:%M:%SZ'),
        'min_disk': 0,
        'min_ram': 0,
        'protected': False,
        'checksum': None,
        'owner': 'alpha',
        'disk_format': 'raw',
        'container_format': 'bare',
        'size': None,
        'virtual_size': None,
        'is_public': False,
        'visibility': 'shared',
        'properties': {'os_distro': 'debian'},
        'tags': ['t'],
        'deleted': False,
        'deleted_at': None,
    }
    assert (update['name'], update['status']) == ('new', 'queued')
    assert (prepare['status'], prepare['checksum'], prepare['backend']) == ('saving', None, 'ram')
    assert saving == {key: prepare[key] for key in saving} and set(saving) == PAYLOAD
    assert (upload['status'], upload['size']) == ('active', 5)
    assert set(upload) == PAYLOAD | STORES and set(prepare) == PAYLOAD | STORES | {'backend'}
    assert activate == done == {key: upload[key] for key in PAYLOAD}
    assert activate['checksum'] == active.checksum
    assert (off['status'], on['status']) == ('deactivated', 'active')
    assert (delete['status'], delete['deleted']) == ('deleted', True)
    assert delete['deleted_at'].endswith('Z') and delete['id'] == image.id


def test_a_delete_that_is_put_off_says_so(bus, sent):
    made = bus('[DEFAULT]\ndelayed_delete = true\n')
    for image in (made.active(), made.create()):
        made.outer.delete_image(owner(), image.id)
    told = [(one['status'], one['deleted']) for _, name, one in sent() if name == 'image.delete']
    assert told == [('pending_delete', True), ('deleted', True)]


def test_events_of_members(made, sent):
    image = made.create()
    made.outer.add_member(owner(), image.id, 'beta')
    made.outer.update_member(beta(), image.id, 'beta', 'accepted')
    made.outer.remove_member(owner(), image.id, 'beta')
    assert sent.names() == ['image.member.create', 'image.member.update', 'image.member.delete']
    create, update, delete = (payload for _, _, payload in sent())
    assert set(create) == set(update) == set(delete) == OF_A_MEMBER
    assert (create['status'], update['status'], delete['status']) == (
        'pending', 'accepted', 'accepted',
    )  # fmt: skip
    assert (create['image_id'], create['member_id']) == (image.id, 'beta')
    assert delete['deleted'] is True and delete['deleted_at'] and not update['deleted']


def test_no_event_tells_where_the_data_is_or_its_multihash(made, sent):
    image = made.create()
    made.outer.upload(owner(), image.id, make_upload(), None)
    made.outer.update_image(owner(), image.id, Changes(fields={'name': 'x'}))
    made.outer.delete_image(owner(), image.id)
    events = sent()
    assert len(events) == 7
    for _, _, payload in events:
        assert set(payload) - STORES - {'backend'} == PAYLOAD
        assert 'file:' not in str(payload)


# --- image.prepare


def test_prepare_comes_before_the_first_byte_is_read(made, sent):
    """After every layer has agreed."""
    image = made.create()
    upload = make_upload()
    read, seen = upload._source, []
    upload._source = lambda size: seen.append(sent.names()) or read(size)
    made.outer.upload(owner(), image.id, upload, None)
    assert seen[0] == ['image.update', 'image.prepare']
    assert sent.names().count('image.prepare') == 1


@pytest.mark.parametrize(('store', 'backend'), [(None, 'fast'), ('ram', 'ram')])
def test_prepare_says_which_store(made, sent, store, backend):
    made.outer.upload(owner(), made.create().id, make_upload(), store)
    (prepare,) = [payload for _, name, payload in sent() if name == 'image.prepare']
    assert prepare['backend'] == backend


def test_an_empty_image_is_prepared_as_well(made, sent):
    made.outer.upload(owner(), made.create().id, make_upload(b''), None)
    assert sent.names() == UPLOADED


@pytest.mark.parametrize(
    ('rules', 'text', 'who', 'status', 'store'),
    [
        ({'upload_image': '!'}, '', owner, 'queued', None),
        ({}, '', beta, 'queued', None),
        ({}, '[DEFAULT]\nimage_size_cap = 1\n', owner, 'queued', None),
        ({}, '[DEFAULT]\nuser_storage_quota = 1\n', owner, 'queued', None),
        ({}, '', owner, 'active', None),
        ({}, '', owner, 'queued', 'nowhere'),
    ],
    ids=['policy', 'invisible', 'cap', 'storage', 'conflict', 'store'],
)
def test_a_refused_upload_announces_nothing(bus, sent, rules, text, who, status, store):
    made = bus(text, rules)
    image = made.create(visibility='private', status=status)
    upload = make_upload()
    with pytest.raises(GlanceLiteError):
        made.outer.upload(who(), image.id, upload, store)
    assert sent() == [] and upload.count == 0


@pytest.mark.parametrize(
    ('name', 'arguments'),
    [
        ('create_image', lambda image: (Changes(fields={'visibility': 'public'}),)),
        ('update_image', lambda image: (image.id, Changes(fields={'name': 'x'}))),
        ('delete_image', lambda image: (image.id,)),
        ('set_active', lambda image: (image.id, False)),
        ('download', lambda image: (image.id, Wanted())),
        ('add_member', lambda image: (image.id, 'gamma')),
        ('update_member', lambda image: (image.id, 'beta', 'accepted')),
        ('remove_member', lambda image: (image.id, 'beta')),
    ],
)
def test_a_refused_request_announces_nothing(bus, sent, name, arguments):
    refused = ('modify_image', 'delete_image', 'deactivate', 'download_image', 'add_member',
               'modify_member', 'delete_member')  # fmt: skip
    made = bus(rules=dict.fromkeys(refused, '!'))
    image = made.active()
    made.db.add_member(owner(), image.id, 'beta')
    with pytest.raises(Forbidden):
        getattr(made.outer, name)(owner(), *arguments(image))
    assert sent() == []


def test_what_the_database_refuses_announces_nothing(made, sent):
    image = made.create(protected=True)
    taken = Changes(fields={'id': image.id})
    for call in (
        lambda: made.outer.delete_image(owner(), image.id),
        lambda: made.outer.create_image(owner(), taken),
        lambda: made.outer.set_active(owner(), image.id, True),
        lambda: made.outer.update_image(
            owner(), image.id, Changes(remove=frozenset('a'), require=frozenset('a'))
        ),
        lambda: made.outer.remove_member(owner(), image.id, 'beta'),
    ):
        with pytest.raises(GlanceLiteError):
            call()
    assert sent() == []


def test_an_upload_that_fails_on_the_way_is_an_error_event(made, sent):
    image = made.create(disk_format='qcow2')
    with pytest.raises(UnsupportedMedia) as caught:
        made.outer.upload(owner(), image.id, make_upload(b'no qcow2' * 1000), None)
    assert sent.names() == ['image.update', 'image.prepare', 'image.upload', 'image.update']
    told = f'Failed to upload image data for image {image.id}: {caught.value}'
    assert sent()[2] == ('ERROR', 'image.upload', told)
    assert sent()[3][2]['status'] == 'queued'


# --- image.send


def test_a_download_is_told_when_it_is_over(made, sent):
    image = made.active(b'0123456789')
    download = made.outer.download(admin(), image.id, Wanted())
    assert b''.join(download) == b'0123456789'
    assert sent() == []
    download.close()
    download.close()
    payload = {
        'bytes_sent': 10,
        'image_id': image.id,
        'owner_id': 'alpha',
        'receiver_tenant_id': 'operators',
        'receiver_user_id': 'somebody',
    }
    assert sent() == [('INFO', 'image.send', payload)]


def test_a_range_that_was_sent_whole_is_no_error(made, sent):
    image = made.active(b'0123456789')
    assert made.read(image, owner(), wanted=Wanted(span=Span(2, 4))) == b'234'
    ((priority, _, payload),) = sent()
    assert (priority, payload['bytes_sent']) == ('INFO', 3)


def test_a_download_that_broke_off_is_an_error(made, sent):
    image = made.active(bytes(3_000_000))
    download = made.outer.download(owner(), image.id, Wanted())
    first = len(next(download))
    download.close()
    ((priority, name, payload),) = sent()
    assert (priority, name, payload['bytes_sent']) == ('ERROR', 'image.send', first)


def test_a_head_or_an_image_without_data_sends_nothing(made, sent):
    made.read(made.active(), owner(), wanted=Wanted(body=False))
    made.read(made.create(), owner())
    assert sent() == []


# --- what is not sent


@pytest.mark.parametrize(
    ('disabled', 'left'),
    [
        ('image.create', ['image.delete', 'image.member.create']),
        ('image', []),
        ('image.member', ['image.create', 'image.delete']),
        ('image, image.member.create', []),
        ('imag, image.creat', ['image.create', 'image.delete', 'image.member.create']),
    ],
)
def test_events_and_groups_can_be_disabled(bus, sent, disabled, left):
    made = bus(f'[DEFAULT]\ndisabled_notifications = {disabled}\n')
    image = made.outer.create_image(owner(), Changes())
    made.outer.add_member(owner(), image.id, 'beta')
    made.outer.delete_image(owner(), image.id)
    assert sorted(sent.names()) == left


def test_a_bus_that_fails_is_logged_and_nobodys_error(make, caplog):
    """A real driver, and nobody listens where the bus should be."""
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))  # and never listens
        port = unused.getsockname()[1]
        made = make(
            LAYERS,
            '[oslo_messaging_notifications]\ndriver = messagingv2\n'
            f'transport_url = rabbit://guest:guest@127.0.0.1:{port}/\n',
        )
        image = made.outer.create_image(owner(), Changes())
        with caplog.at_level(logging.ERROR):
            made.layer('notifier')._sender.run()
    assert made.now(image).status == 'queued'
    assert 'MessagingNotifier sends no events; they are kept' in caplog.text
    found = made.db.look_at_outbox(owner())
    assert found.waiting == 1 and found.failing_since


# --- on the wire


def test_a_consumer_receives_them_with_publisher_and_no_credential(make):
    """Over a transport, as a consumer like ceilometer gets them."""
    made = make(
        LAYERS,
        '[oslo_messaging_notifications]\ndriver = messagingv2\ntransport_url = fake://\n'
        '[DEFAULT]\ndefault_publisher_id = image.host7\n',
    )
    received = queue.SimpleQueue()

    class Endpoint:
        def info(self, ctxt, publisher_id, event_type, payload, metadata):
            received.put((ctxt, publisher_id, event_type, payload))

    (driver,) = made.layer('notifier')._drivers
    listener = oslo_messaging.get_notification_listener(
        driver._transport,
        [oslo_messaging.Target(topic='notifications')],
        [Endpoint()],
        executor='threading',
    )
    listener.start()
    try:
        ctx = owner()
        image = made.outer.create_image(ctx, Changes(fields={'name': 'n'}))
        made.layer('notifier')._sender.run()
        context, publisher, event, payload = received.get(timeout=30)
    finally:
        listener.stop()
        listener.wait()
    assert (publisher, event, payload['id']) == ('image.host7', 'image.create', image.id)
    assert context == {}, 'as with Glance: no token, no roles'


def test_events_of_tasks(made, sent):
    created = made.outer.create_task(admin(), NewTask('import', {'import_from': 'http://a/b'}))
    found = sent()
    assert [(priority, event) for priority, event, _ in found] == [
        ('INFO', 'task.create'), ('INFO', 'task.failure'),
    ]  # fmt: skip
    payload = found[0][2]
    assert payload['id'] == created.id and payload['status'] == 'failure'
    assert payload['expires_at'] and payload['result'] is None and 'input' not in payload


def test_a_delete_that_a_store_refuses_announces_nothing(made, sent, monkeypatch):
    image = made.active()
    driver = made.parts.gateway.stores['fast'].driver

    def in_use(key):
        raise InUse('somebody needs it')

    monkeypatch.setattr(driver, 'delete', in_use)
    with pytest.raises(InUse):
        made.outer.delete_image(owner(), image.id)
    assert sent() == [] and made.now(image).status == 'active'


def test_a_delete_whose_store_is_away_is_announced_at_once(made, sent, monkeypatch):
    image = made.active()
    driver = made.parts.gateway.stores['fast'].driver

    def away(key):
        raise StoreUnavailable('not now')

    with monkeypatch.context() as patch:
        patch.setattr(driver, 'delete', away)
        made.outer.delete_image(owner(), image.id)
    assert sent.names() == ['image.delete']


def test_a_copy_that_is_removed_is_a_change(made, sent):
    image = made.active()
    made.outer.update_image(
        admin(),
        image.id,
        Changes(locations=(LocationStep('add', values=(_copy(made, image),)),)),
    )
    made.outer.delete_from_store(admin(), image.id, 'ram')
    assert sent.names() == ['image.update', 'image.update']


def _copy(made, image):
    """The data once more, in the other store."""
    url = made.parts.gateway.stores['ram'].driver.add(image.id, io.BytesIO(b'some data'), 9)
    return NewLocation(url)
