# SPDX-License-Identifier: Apache-2.0
"""A list that takes the database too long is given up, on every engine, and nothing else is."""

from __future__ import annotations

import datetime
import uuid

import pytest
import sqlalchemy as sa

from glance_lite.db import limits, tables
from glance_lite.errors import LimitExceeded
from glance_lite.model import Condition, Query
from tests.backends.fixtures import context, make_layer

#: more than any engine looks at in a millisecond
IMAGES = 20_000
#: nothing is so large, and no index says so
COSTLY = Query(limit=25, conditions=(Condition('min_ram', 'ge', 5), Condition('min_disk', 'ge', 5)))


@pytest.fixture
def many(database_url):
    engine = sa.create_engine(database_url)
    when = datetime.datetime(2026, 1, 1)
    same = {
        'status': 'active', 'visibility': 'private', 'owner': 'alpha', 'created_at': when,
        'deleted': False, 'min_ram': 0, 'min_disk': 0, 'protected': False, 'os_hidden': False,
    }  # fmt: skip
    with engine.begin() as connection:
        connection.execute(
            sa.insert(tables.images), [{'id': str(uuid.uuid4()), **same} for _ in range(IMAGES)]
        )
    engine.dispose()
    return database_url


@pytest.mark.parametrize('debug', [0, 50])  # 50: each statement goes through SQLAlchemy
def test_a_costly_list_is_given_up_and_the_connection_is_as_before(many, debug):
    layer = make_layer(many, list_timeout=0.001, max_pool_size=1, connection_debug=debug)
    try:
        with pytest.raises(LimitExceeded, match=r'within 0\.001 seconds'):
            layer.list_images(context(), COSTLY)
        layer.database.list_timeout = 60
        assert layer.list_images(context(), COSTLY).images == ()
        # What was said for one statement is not said for the next one.
        layer.database.list_timeout = 0
        assert layer.list_images(context(), COSTLY).images == ()
    finally:
        layer.stop()


def test_a_list_is_not_asked_again_when_its_time_is_over(many, monkeypatch):
    asked = []
    limited = limits.passed
    monkeypatch.setattr(limits, 'passed', lambda ex: asked.append(ex) or limited(ex))
    layer = make_layer(many, list_timeout=0.001)
    try:
        with pytest.raises(LimitExceeded):
            layer.list_images(context(), COSTLY)
    finally:
        layer.stop()
    assert len(asked) == 1


class Dialect:
    def __init__(self, name, is_mariadb=False):
        self.name, self.is_mariadb = name, is_mariadb


def test_how_each_engine_is_told():
    text = 'SELECT a FROM (SELECT a FROM b) AS c'
    assert limits.limited(text, Dialect('postgresql'), 0) == text
    assert limits.limited(text, Dialect('sqlite'), 1) == text
    told = limits.limited(text, Dialect('postgresql'), 1.5)
    assert told == f'SET LOCAL statement_timeout = 1500; {text}'
    told = limits.limited(text, Dialect('mysql', is_mariadb=True), 0.5)
    assert told == f'SET STATEMENT max_statement_time = 0.5 FOR {text}'
    told = limits.limited(text, Dialect('mysql'), 2)
    assert told == 'SELECT /*+ MAX_EXECUTION_TIME(2000) */ a FROM (SELECT a FROM b) AS c'
