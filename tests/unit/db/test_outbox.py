# SPDX-License-Identifier: Apache-2.0
"""Events ride with rows into the outbox and are taken out by one at a time: on every engine."""

from __future__ import annotations

import dataclasses
import datetime
import json
import subprocess
from types import MappingProxyType

import pytest
import sqlalchemy as sa

from glance_lite.db import outbox, tables
from glance_lite.errors import Conflict, Forbidden, Gone
from glance_lite.metadefs.model import Namespace, Object, Tag
from glance_lite.model import Changes, Digests, LocationStep, NewLocation, Relocation
from glance_lite.notify.events import (
    BEGUN,
    CLAIMED,
    ERROR,
    FAILED,
    PLACED,
    Event,
    Notice,
    Sending,
    make_notice,
)
from glance_lite.tasks import NewTask
from tests.backends.fixtures import context
from tests.unit.db.helpers import Source, create, execute, fill, rows, stored
from tests.unit.db.test_operations import at_once

ME = Sending('me', batch=3, limit=1000, pause=5.0)
OTHER = dataclasses.replace(ME, sender='another')


def event(name='image.update', **kwargs):
    return Event(name, 'image.test', **kwargs)


def told(db):
    """Events in the outbox, in the order in which they go."""
    return [json.loads(row['message']) for row in rows(db, 'gl_outbox')]


def names(db):
    return [message['event_type'] for message in told(db)]


def put(db, *numbers):
    for number in numbers:
        notice = make_notice('image.update', 'image.test', 'INFO', {'number': number})
        db._write(context(), outbox.write, [notice])


def numbers(notices):
    return [notice.message['payload']['number'] for notice in notices]


def sender_row(db, **values):
    execute(db, sa.update(tables.outbox_sender).values(**values))


# --- with which rows they ride


def test_a_new_image_is_told_of_as_it_was_written(db):
    changes = Changes(fields={'name': 'n'}, properties={'a': 'b'}, tags=frozenset('t'))
    image = db.create_image(context(), changes.riding(event('image.create')))
    (message,) = told(db)
    assert message['event_type'] == 'image.create' and message['priority'] == 'INFO'
    assert message['publisher_id'] == 'image.test' and message['message_id']
    payload = message['payload']
    assert (payload['id'], payload['name'], payload['status']) == (image.id, 'n', 'queued')
    assert payload['properties'] == {'a': 'b'} and payload['tags'] == ['t']


def test_what_is_refused_is_not_told_of(db):
    image = create(db)
    with pytest.raises(Conflict):
        changes = Changes(require=frozenset('x'), remove=frozenset('x'))
        db.update_image(context(), image.id, changes.riding(event()))
    assert told(db) == []


def test_a_change_that_says_nothing_is_not_told_of(db):
    image = create(db)
    db.update_image(context(), image.id, Changes().riding(event()))
    assert told(db) == []
    db.update_image(context(), image.id, Changes(fields={'name': 'x'}).riding(event()))
    assert [message['payload']['name'] for message in told(db)] == ['x']


def test_one_statement_for_all_events_of_a_write_and_none_without(db, statements):
    def cost(*riders):
        changes = Changes(riders=riders)
        with statements() as seen:
            db.create_image(context(), changes)
        assert seen.transactions == 1
        return len(seen)

    cost()  # what is done once for each connection
    without = cost()
    assert cost(event('image.create'), event(), event()) == without + 1
    assert names(db) == ['image.create', 'image.update', 'image.update']
    assert cost(event(when=FAILED)) == without


@pytest.mark.parametrize(('active', 'count'), [(False, 1), (True, 0)])
def test_a_status_that_is_so_already_is_not_told_of(db, active, count):
    image = fill(db, create(db))
    ctx = context(admin=True)
    with ctx.riding(event()):
        db.set_active(ctx, image.id, active)
    assert len(told(db)) == count


def test_riders_of_a_context_stay_within_their_block(db):
    ctx = context()
    image = create(db)
    with ctx.riding(event('image.member.create')):
        db.add_member(ctx, image.id, 'beta')
    db.remove_member(ctx, image.id, 'beta')
    assert names(db) == ['image.member.create'] and ctx.riders == ()


def test_members_are_told_of(db):
    ctx, image = context(), create(db)
    with ctx.riding(event('image.member.create')):
        db.add_member(ctx, image.id, 'beta')
    with ctx.riding(event('image.member.update')):
        db.update_member(ctx, image.id, 'beta', 'accepted')
    with ctx.riding(event('image.member.delete')):
        db.remove_member(ctx, image.id, 'beta')
    payloads = [message['payload'] for message in told(db)]
    assert [one['status'] for one in payloads] == ['pending', 'accepted', 'accepted']
    assert [one['deleted'] for one in payloads] == [False, False, True]


# --- uploads


def upload(db, image, *, fail=False):
    source = Source(
        riders=(
            event('image.prepare', when=CLAIMED, more={'backend': 'fast'}),
            event('image.upload'),
            event('image.activate'),
            event('image.upload', when=FAILED, priority=ERROR),
            event('image.update', when=FAILED),
        )
    )
    ctx = context()
    claim = db.claim_upload(ctx, image.id, source, 'fast')
    if fail:
        db.abort_upload(ctx, claim, source, 'it broke')
    else:
        db.commit_upload(ctx, claim, source, stored())


def test_an_upload_is_told_of_at_its_claim_and_at_its_end(db):
    upload(db, create(db))
    prepare, *end = told(db)
    assert [one['event_type'] for one in end] == ['image.upload', 'image.activate']
    assert prepare['payload']['status'] == 'saving' and prepare['payload']['backend'] == 'fast'
    assert [one['payload']['status'] for one in end] == ['active', 'active']
    assert end[0]['payload']['os_glance_failed_import'] == []
    assert 'os_glance_failed_import' not in end[1]['payload']


def test_an_upload_that_fails_is_told_of_in_words(db):
    image = create(db)
    upload(db, image, fail=True)
    _, failed, update = told(db)
    assert (failed['event_type'], failed['priority']) == ('image.upload', 'ERROR')
    assert failed['payload'] == f'Failed to upload image data for image {image.id}: it broke'
    assert update['payload']['status'] == 'queued'
    assert 'os_glance_failed_upload' in update['payload']['properties']


def test_of_an_upload_that_was_taken_over_only_the_claim_is_told(db):
    image = create(db)
    source = Source(riders=(event('image.prepare', when=CLAIMED), event('image.upload')))
    claim = db.claim_upload(context(), image.id, source, 'fast')
    db.take_over(context(), dataclasses.replace(claim, kind='upload'))
    with pytest.raises(Gone):
        db.commit_upload(context(), claim, source, stored())
    assert names(db) == ['image.prepare']


# --- deletes


def delete(db, image):
    ctx = context()
    with ctx.riding(event('image.delete')):
        return db.claim_delete(ctx, image.id)


def test_a_delete_without_data_is_told_of_at_once(db):
    image = create(db)
    delete(db, image)
    (message,) = told(db)
    assert message['payload']['status'] == 'deleted' and message['payload']['deleted'] is True
    assert message['payload']['deleted_at']


def test_a_delete_is_told_of_when_the_bytes_are_gone(db):
    claim = delete(db, fill(db, create(db)))
    assert told(db) == []
    db.commit_delete(context(), claim)
    assert names(db) == ['image.delete']


def test_a_delete_that_a_store_refuses_is_not_told_of(db):
    image = fill(db, create(db))
    claim = delete(db, image)
    db.abort_delete(context(), claim)
    assert told(db) == [] and db.get_image(context(), image.id).status == 'active'


def test_a_delete_whose_bytes_go_later_is_told_of_once(db):
    claim = delete(db, fill(db, create(db)))
    db.leave_delete(context(), claim)
    assert names(db) == ['image.delete']
    taken = db.take_over(context(), claim)
    db.commit_delete(context(), taken)
    assert names(db) == ['image.delete'] and rows(db, 'gl_operations') == []


def test_a_delete_whose_process_was_killed_is_told_of_by_who_takes_it_over(db):
    claim = delete(db, fill(db, create(db)))
    taken = db.take_over(context(), dataclasses.replace(claim, notices=()))
    assert told(db) == []
    db.commit_delete(context(), taken)
    (message,) = told(db)
    assert message['event_type'] == 'image.delete' and message['payload']['deleted']


def test_a_copy_that_goes_is_a_change_of_the_image(db):
    image = fill(db, create(db))
    more = Relocation(
        tuple(one.id for one in image.locations),
        (dataclasses.replace(image.locations[0], id=0, url='file:///data/y'),),
    )
    changes = Changes(locations=(LocationStep('add'),)).riding(event())
    moved = db.relocate(context(), image.id, changes, more).image
    assert names(db) == ['image.update']
    ctx = context()
    with ctx.riding(event()):
        db.claim_location(ctx, image.id, moved.locations[1].id)
    assert names(db) == ['image.update'] * 2


# --- imports, which others do later


def register(db, image):
    riders = (
        event('task.create', when=CLAIMED),
        event('image.update', when=CLAIMED),
        event('task.processing', when=BEGUN),
        event('image.update', when=PLACED),
        event('image.update'),
        event('task.success'),
        event('image.update', when=FAILED),
        event('task.failure', when=FAILED, more={'why': 'x'}),
    )
    new = NewLocation('http://a.example/b', riders=riders)
    db.claim_import(context(), image.id, new, 'web')
    taken = db.take_import(context())
    return db.place_import(context(), taken, 5, False, 'sha512')


def test_an_import_is_told_of_by_whoever_does_it(db):
    claim = register(db, create(db))
    db.commit_import(context(), claim, Digests('c' * 32, 'sha512', 'a' * 128))
    assert names(db) == [
        'task.create', 'image.update', 'task.processing', 'image.update', 'image.update',
        'task.success',
    ]  # fmt: skip
    payloads = [message['payload'] for message in told(db)]
    assert [one['status'] for one in payloads] == [
        'pending', 'importing', 'processing', 'importing', 'active', 'success',
    ]  # fmt: skip
    assert {one['type'] for one in payloads if 'type' in one} == {'location_import'}
    assert all('example' not in json.dumps(one) for one in payloads)


def test_an_import_that_fails_is_told_of(db):
    claim = register(db, create(db))
    db.abort_import(context(), claim, 'no')
    *_, image, task = told(db)
    assert image['payload']['status'] == 'queued'
    assert (task['event_type'], task['payload']['status']) == ('task.failure', 'failure')
    assert task['payload']['why'] == 'x'


def test_an_import_that_ends_with_its_image_has_failed(db):
    image = create(db)
    register(db, image)
    execute(db, sa.delete(tables.outbox))
    claim = db.claim_delete(context(), image.id)
    db.commit_delete(context(), claim)
    assert names(db) == ['task.failure']


def test_an_import_without_events_asks_for_nothing_more(db, statements):
    def cost(*riders):
        image = create(db)
        new = NewLocation('http://a.example/b', riders=riders)
        with statements() as seen:
            db.claim_import(context(), image.id, new, 'web')
            taken = db.take_import(context())
            placed = db.place_import(context(), taken, 5, True, None)
            db.commit_import(context(), placed, Digests())
        return len(seen)

    cost()  # what is done once for each connection
    without = cost()
    assert cost(event('image.update', when=FAILED)) == without
    assert cost(event('image.update', when=CLAIMED)) > without
    assert names(db) == ['image.update']


# --- tasks, metadata definitions


def test_tasks_are_told_of(db):
    ctx = context()
    with ctx.riding(event('task.create'), event('task.failure')):
        task = db.create_task(ctx, NewTask('import', {'import_from': 'http://a.example'}))
    assert names(db) == ['task.create', 'task.failure']
    payload = told(db)[0]['payload']
    assert payload['id'] == task.id and payload['result'] is payload['message'] is None
    assert 'input' not in payload


def test_each_thing_in_a_new_namespace_is_told_of(db):
    ctx = context()
    contents = {'object': (Object('o1'), Object('o2')), 'tag': (Tag('t1'),)}
    with ctx.riding(*(event(f'metadef_{kind}.create') for kind in ('namespace', 'object', 'tag'))):
        db.create_namespace(ctx, Namespace('n1', contents=contents))
    found = [(one['event_type'], one['payload'].get('name')) for one in told(db)]
    assert found == [
        ('metadef_namespace.create', None),
        ('metadef_object.create', 'o1'),
        ('metadef_object.create', 'o2'),
        ('metadef_tag.create', 't1'),
    ]
    assert all(one['payload']['created_at'] for one in told(db))


def test_things_in_a_namespace_are_told_of(db):
    ctx = context()
    db.create_namespace(ctx, Namespace('n1'))
    with ctx.riding(event('metadef_object.create')):
        db.add_definition(ctx, 'n1', Object('a'))
    with ctx.riding(event('metadef_object.update', more={'name_old': 'a'})):
        db.update_definition(ctx, 'n1', 'a', Object('b'))
    with ctx.riding(event('metadef_object.delete')):
        db.delete_definition(ctx, 'n1', 'object', 'b')
    with ctx.riding(event('metadef_tag.create')):
        db.set_tags(ctx, 'n1', (Tag('x'), Tag('y')), True)
    with ctx.riding(event('metadef_namespace.delete_tags')):
        db.clear_namespace(ctx, 'n1', 'tag')
    with ctx.riding(event('metadef_namespace.update', more={'namespace_old': 'n1'})):
        db.update_namespace(ctx, 'n1', Namespace('n2'))
    with ctx.riding(event('metadef_namespace.delete')):
        db.delete_namespace(ctx, 'n2')
    keys = ('namespace', 'namespace_old', 'name', 'name_old', 'deleted')
    found = [
        (one['event_type'].removeprefix('metadef_'), *(one['payload'].get(key) for key in keys))
        for one in told(db)
    ]
    assert found == [
        ('object.create', 'n1', None, 'a', 'a', False),
        ('object.update', 'n1', None, 'b', 'a', False),
        ('object.delete', 'n1', None, 'b', 'b', True),
        ('tag.create', 'n1', None, 'x', 'x', False),
        ('tag.create', 'n1', None, 'y', 'y', False),
        ('namespace.delete_tags', 'n1', 'n1', None, None, False),
        ('namespace.update', 'n2', 'n1', None, None, False),
        ('namespace.delete', 'n2', 'n2', None, None, True),
    ]


# --- order


def test_events_of_one_image_are_in_the_order_of_its_changes(db):
    image = create(db)

    def change(number):
        for step in range(5):
            changes = Changes(properties={'last': f'{number}.{step}'})
            db.update_image(context(), image.id, changes.riding(event()))

    assert at_once(4, change) == [None] * 4
    told_of = [message['payload']['properties']['last'] for message in told(db)]
    assert len(told_of) == 20
    assert told_of[-1] == db.get_image(context(), image.id).properties['last']
    for number in range(4):
        mine = [one for one in told_of if one.startswith(f'{number}.')]
        assert mine == sorted(mine)


# --- taking them out


def test_the_oldest_come_first_a_batch_at_a_time(db):
    put(db, *range(5))
    assert db.is_outbox_ready(context(), ME) is True
    first = db.take_notices(context(), ME, [])
    assert numbers(first) == [0, 1, 2]
    again = db.take_notices(context(), ME, [first[0].serial])
    assert numbers(again) == [1, 2, 3]
    rest = db.take_notices(context(), ME, [one.serial for one in again])
    assert numbers(rest) == [4]
    assert db.take_notices(context(), ME, [rest[0].serial]) == ()
    assert db.is_outbox_ready(context(), ME) is False and told(db) == []


def test_one_at_a_time_sends(db):
    put(db, 1)
    assert db.take_notices(context(), ME, [])
    assert db.take_notices(context(), OTHER, []) is None
    assert db.is_outbox_ready(context(), OTHER) is None
    assert db.keep_outbox(context(), OTHER, 0) is False
    db.release_outbox(context(), ME, [], False)
    assert db.take_notices(context(), OTHER, [])


def test_of_many_who_want_to_send_one_may(db):
    put(db, 1)
    senders = [dataclasses.replace(ME, sender=f'sender {number}') for number in range(4)]
    found = at_once(4, lambda number: db.take_notices(context(), senders[number], []))
    assert sum(bool(one) for one in found) == 1


def test_who_emptied_it_has_given_the_turn_back(db):
    put(db, 1)
    (notice,) = db.take_notices(context(), ME, [])
    assert db.take_notices(context(), ME, [notice.serial]) == ()
    put(db, 2)
    assert numbers(db.take_notices(context(), OTHER, [])) == [2]


def test_a_sender_that_is_silent_loses_its_turn(db):
    put(db, 1)
    assert db.take_notices(context(), ME, [])
    (row,) = rows(db, 'gl_outbox_sender')
    sender_row(db, host='elsewhere', heartbeat=row['heartbeat'] - datetime.timedelta(seconds=21))
    assert db.is_outbox_ready(context(), OTHER) is True
    assert numbers(db.take_notices(context(), OTHER, [])) == [1]
    assert db.keep_outbox(context(), ME, 0) is False
    assert db.take_notices(context(), ME, []) is None


def test_a_dead_sender_of_this_boot_loses_its_turn_at_once(db):
    process = subprocess.Popen(['true'])
    process.wait()
    put(db, 1)
    assert db.take_notices(context(), ME, [])
    sender_row(db, pid=process.pid)
    assert numbers(db.take_notices(context(), OTHER, [])) == [1]


def test_after_a_failure_nobody_tries_for_a_while(db):
    put(db, 1, 2)
    first, _ = db.take_notices(context(), ME, [])
    db.release_outbox(context(), ME, [first.serial], True)
    assert db.is_outbox_ready(context(), ME) is db.is_outbox_ready(context(), OTHER) is False
    assert db.look_at_outbox(context()).failing_since is not None
    (row,) = rows(db, 'gl_outbox_sender')
    sender_row(db, heartbeat=row['heartbeat'] - datetime.timedelta(seconds=6))
    assert db.is_outbox_ready(context(), OTHER) is True
    (second,) = db.take_notices(context(), OTHER, [])
    assert db.take_notices(context(), OTHER, [second.serial]) == ()
    assert db.look_at_outbox(context()).failing_since is None


def test_it_is_known_since_when_nothing_goes(db):
    put(db, 1)
    db.take_notices(context(), ME, [])
    db.release_outbox(context(), ME, [], True)
    since = db.look_at_outbox(context()).failing_since - datetime.timedelta(seconds=60)
    sender_row(db, failing_since=since)
    db.take_notices(context(), OTHER, [])
    db.release_outbox(context(), OTHER, [], True)
    assert db.look_at_outbox(context()).failing_since == since


def test_a_serial_does_not_come_twice(db):
    put(db, 1)
    (first,) = db.take_notices(context(), ME, [])
    db.take_notices(context(), ME, [first.serial])
    put(db, 2)
    (second,) = db.take_notices(context(), ME, [])
    assert second.serial > first.serial


# --- too many


def test_the_oldest_beyond_the_limit_are_dropped_and_counted(db):
    put(db, *range(8))
    small = dataclasses.replace(ME, limit=5)
    assert numbers(db.take_notices(context(), small, [])) == [3, 4, 5]
    found = db.look_at_outbox(context())
    assert (found.waiting, found.dropped) == (5, 3)


def test_what_is_under_way_is_not_dropped(db):
    put(db, *range(4))
    small = dataclasses.replace(ME, limit=4)
    under_way = db.take_notices(context(), small, [])
    put(db, *range(4, 8))
    assert db.keep_outbox(context(), small, under_way[-1].serial)
    left = [message['payload']['number'] for message in told(db)]
    assert left == [0, 1, 2, 7]
    assert db.look_at_outbox(context()).dropped == 4


def test_others_that_were_dropped_are_counted_as_well(db):
    db.count_dropped(context(), 2)
    db.count_dropped(context(), 3)
    found = db.look_at_outbox(context())
    assert (found.waiting, found.age, found.dropped) == (0, None, 5)


def test_a_message_may_be_long(db):
    put(db, 'x' * 300_000)
    (notice,) = db.take_notices(context(), ME, [])
    assert len(notice.message['payload']['number']) == 300_000
    assert isinstance(notice, Notice) and notice.event == 'image.update'


def test_no_value_can_fail_what_it_tells_of(db):
    odd = MappingProxyType({'when': datetime.date(2026, 4, 1), 'text': '\ud800 \x00 \U0001f600'})
    put(db, odd)
    (notice,) = db.take_notices(context(), ME, [])
    assert notice.message['payload']['number'] == {**odd, 'when': '2026-04-01'}


def test_the_age_of_the_oldest_is_known(db):
    put(db, 1)
    (row,) = rows(db, 'gl_outbox')
    execute(db, sa.update(tables.outbox).values(at=row['at'] - datetime.timedelta(seconds=100)))
    assert 99 < db.look_at_outbox(context()).age < 200


def test_a_protected_image_is_not_told_of(db):
    image = create(db, protected=True)
    with pytest.raises(Forbidden):
        delete(db, image)
    assert told(db) == []
