# SPDX-License-Identifier: Apache-2.0
"""Tasks, on every engine."""

from __future__ import annotations

import datetime
import uuid

import pytest
import sqlalchemy as sa

from glance_lite.db import tables
from glance_lite.errors import ImageNotFound, Invalid, LimitExceeded, NotFound
from glance_lite.tasks import NewTask, TaskQuery
from tests.backends.fixtures import context
from tests.unit.db.helpers import create, execute, rows

ADMIN = {'project': 'operators', 'admin': True}
LONG_AGO = datetime.datetime(2020, 1, 1)


def new(db, project='alpha', **values):
    """A task of a project, with what a Glance might have written into its row."""
    task = db.create_task(context(project), NewTask('import', {'import_from': 'http://a/b'}))
    if values:
        table = tables.tasks
        execute(db, sa.update(table).where(table.c.id == task.id).values(**values))
    return task


def listed(db, ctx=None, **query):
    query.setdefault('equal', {})
    page = db.list_tasks(ctx or context(**ADMIN), TaskQuery(**query))
    return [task.id for task in page.tasks]


def test_a_new_task_has_failed_and_says_why(db):
    made = db.create_task(context(), NewTask('import', {'import_from': 'http://a/b'}))
    found = db.get_task(context(), made.id)
    assert (found.status, found.owner, found.user_id) == ('failure', 'alpha', 'somebody')
    assert found.input == {'import_from': 'http://a/b'} and found.result is None
    assert found.message and found.message == made.message
    kept = found.expires_at - found.created_at
    assert abs(kept - datetime.timedelta(hours=48)) < datetime.timedelta(seconds=2)


def test_a_task_is_seen_by_its_project_and_administrators(db):
    task = new(db)
    assert db.get_task(context(**ADMIN), task.id).id == task.id
    for stranger in (context('beta'), context(None)):
        with pytest.raises(NotFound):
            db.get_task(stranger, task.id)
        assert listed(db, stranger) == []
    with pytest.raises(Invalid):
        db.list_tasks(context('beta'), TaskQuery({}, marker=task.id))


def test_an_expired_task_is_hidden_before_it_is_deleted(db):
    image = create(db)
    old = new(db, expires_at=LONG_AGO, image_id=image.id)
    for_ever = new(db, expires_at=None, image_id=image.id)
    later = new(db, image_id=image.id)
    before = rows(db, 'tasks')
    with pytest.raises(NotFound):
        db.get_task(context(**ADMIN), old.id)
    assert set(listed(db)) == {for_ever.id, later.id}
    found = db.list_image_tasks(context(), image.id)
    assert {task.id for task in found} == {for_ever.id, later.id}
    assert rows(db, 'tasks') == before
    assert db.expire_tasks(context(**ADMIN)) == 1
    assert db.expire_tasks(context(**ADMIN)) == 0
    (gone,) = rows(db, 'tasks', deleted=True)
    assert gone['id'] == old.id and gone['deleted_at']


def test_reading_tasks_writes_nothing(db):
    image = create(db)
    task = new(db, image_id=image.id)
    new(db, expires_at=LONG_AGO, image_id=image.id)
    statements = []
    sa.event.listen(
        db.database.engine, 'before_cursor_execute', lambda *args: statements.append(args[2])
    )
    db.get_task(context(), task.id)
    db.list_tasks(context(**ADMIN), TaskQuery({}, marker=task.id))
    db.list_image_tasks(context(), image.id)
    assert statements
    words = {one.split()[0].upper() for one in statements}
    assert words <= {'SELECT', 'PREPARE', 'EXECUTE', 'BEGIN'}, statements


def test_the_tasks_of_an_image_are_those_of_the_project(db):
    image = create(db, visibility='public')
    mine, other = new(db, image_id=image.id), new(db, 'beta', image_id=image.id)
    new(db, image_id=str(uuid.uuid4()))

    def seen(ctx):
        return {task.id for task in db.list_image_tasks(ctx, image.id)}

    assert seen(context()) == {mine.id}
    assert seen(context('beta')) == {other.id}
    assert seen(context('gamma')) == set()
    assert seen(context(**ADMIN)) == {mine.id, other.id}
    hidden = create(db, visibility='private')
    with pytest.raises(ImageNotFound):
        db.list_image_tasks(context('beta'), hidden.id)


@pytest.mark.parametrize('key', ['created_at', 'id', 'type', 'expires_at', 'image_id', 'user_id'])
@pytest.mark.parametrize('ascending', [True, False])
def test_pages_have_every_task_once_whatever_is_null(db, key, ascending):
    made = {
        new(
            db,
            created_at=LONG_AGO + datetime.timedelta(days=number // 3),
            expires_at=None if number % 2 else LONG_AGO.replace(year=2090 + number % 3),
            image_id=None if number % 3 else f'image-{number}',
            user_id=None if number % 4 else 'x',
            type='import' if number % 2 else 'location_import',
        ).id
        for number in range(9)
    }
    found, marker = [], None
    while True:
        page = listed(db, sort_key=key, ascending=ascending, limit=2, marker=marker)
        found += page
        if len(page) < 2:
            break
        marker = page[-1]
    assert len(found) == len(made) and set(found) == made
    assert found == listed(db, sort_key=key, ascending=ascending, limit=100)
    assert found[::-1] == listed(db, sort_key=key, ascending=not ascending, limit=100)


def test_filters(db):
    one, two = new(db), new(db, 'beta', type='location_import', status='pending')
    assert listed(db, equal={'owner': 'beta'}) == [two.id]
    assert listed(db, equal={'type': 'import', 'status': 'failure'}) == [one.id]
    assert listed(db, equal={'id': one.id, 'owner': 'beta'}) == []
    assert listed(db, limit=0) == []


def test_what_does_not_fit_is_refused(db):
    with pytest.raises(LimitExceeded):
        db.create_task(context(), NewTask('import', {'a': 'x' * 65536}))
    with pytest.raises(Invalid):
        db.create_task(context(None), NewTask('import', {}))
    ctx = context()
    ctx.request_id, ctx.user_id = 'req-' + 'x' * 100, 'u' * 100
    db.create_task(ctx, NewTask('import', {'a': 'x' * 65000}))
    assert len(rows(db, 'tasks')) == 1


def test_what_is_no_json_object_in_a_row_is_shown_as_none(db):
    task = new(db)
    table = tables.task_info
    execute(db, sa.update(table).where(table.c.task_id == task.id).values(input='{', result='[1]'))
    found = db.get_task(context(), task.id)
    assert found.input is None and found.result is None
