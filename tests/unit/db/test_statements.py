# SPDX-License-Identifier: Apache-2.0
"""Prepared statements under PostgreSQL: prepared once, and answers whatever becomes of them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from glance_lite.db import rows, statements
from glance_lite.db.statements import Direct
from glance_lite.model import Changes, Query
from tests.backends.fixtures import context
from tests.unit.db.helpers import create, execute, fill, share


@pytest.fixture
def engine_name():
    from tests.backends import databases

    databases.require('postgresql')
    return 'postgresql'


@pytest.fixture
def image(db):
    made = create(db, 'alpha', properties={'a': '1', 'b': '100 %', 'c': None}, tags=['x', 'y'])
    fill(db, made)
    return made


def get(db, image):
    return db.get_image(context(), image.id)


def forget(db, statement):
    """Make something of all sessions that the pool holds."""
    with db.database.engine.connect() as connection:
        connection.exec_driver_sql(statement)


def test_a_statement_is_prepared_once_for_each_connection(db, image, statements):
    get(db, image)
    with statements() as sent:
        assert get(db, image).id == image.id
    assert [text.partition(' ')[0] for text in sent] == ['EXECUTE']


def test_both_ways_give_the_same_rows(db, image):
    share(db, image, 'beta', 'accepted')
    database = db.database
    with Direct(database.engine) as connection:
        direct = rows.load(connection, image.id, 'beta')
    with database.engine.connect() as connection:
        prepared = rows.load(connection, image.id, 'beta')
        connection.info[statements.PREPARED] = None
        plain = rows.load(connection, image.id, 'beta')
    assert direct == prepared == plain
    assert direct[1] is True
    assert direct[0].properties == {'a': '1', 'b': '100 %', 'c': None}


@pytest.mark.parametrize(
    'loss',
    [
        'DEALLOCATE ALL',  # as behind PgBouncer: another session
        'DISCARD ALL',
        'ALTER TABLE images ALTER name TYPE TEXT',  # a plan of another result
    ],
)
def test_what_is_lost_is_asked_again_without(db, image, loss, statements):
    page = db.list_images(context(), Query(limit=5))
    db.update_image(context(), image.id, Changes(properties={'a': '2'}))
    before = get(db, image)
    forget(db, loss)
    try:
        assert get(db, image) == before
        assert db.list_images(context(), Query(limit=5)).images[0].id == page.images[0].id
        with statements() as sent:
            get(db, image)
        assert sent
        assert not any('gl_' in text for text in sent)
    finally:
        forget(db, 'ALTER TABLE images ALTER name TYPE VARCHAR(255)')


def test_a_change_survives_the_loss_of_its_statements(db, image):
    db.update_image(context(), image.id, Changes(properties={'a': '2'}))
    forget(db, 'DEALLOCATE ALL')
    changed = db.update_image(context(), image.id, Changes(properties={'a': '3'}))
    assert changed.properties['a'] == '3'
    assert get(db, image).properties['a'] == '3'


def test_a_name_that_is_taken_is_not_used(db, image):
    """A pooler hands on sessions in which the same text is prepared already."""
    get(db, image)
    with db.database.engine.connect() as connection:
        connection.info[statements.PREPARED] = set()
    assert get(db, image).id == image.id


def test_connections_that_the_server_has_cut_are_replaced(db, image, database_url):
    get(db, image)
    other = sa.create_engine(database_url, isolation_level='AUTOCOMMIT')
    with other.connect() as connection:
        connection.exec_driver_sql(
            'SELECT pg_terminate_backend(pid) FROM pg_stat_activity '
            'WHERE datname = current_database() AND pid != pg_backend_pid()'
        )
    other.dispose()
    assert get(db, image).id == image.id


def test_an_answer_that_nobody_waits_for_is_not_the_next_ones(db, image):
    """Whoever is ended in mid-statement must not leave its rows to the next request."""

    class Ended(BaseException):
        pass

    def ended(connection):
        connection.raw.cursor().execute('BEGIN; SELECT 1')
        raise Ended

    with pytest.raises(Ended):
        db.database.query(ended)
    with db.database.engine.connect() as connection:
        assert connection.connection.dbapi_connection.get_transaction_status() == 0
    assert get(db, image).id == image.id
    assert execute(db, sa.text('SELECT 1')) == 1
