# SPDX-License-Identifier: Apache-2.0
"""The schema is Glance 33's, whoever made it; of ours, migrations and tables.py say the same."""

from __future__ import annotations

import json
import pathlib

import pytest
import sqlalchemy as sa

from glance_lite.db import admin, tables
from glance_lite.errors import ConfigurationError, Invalid, Unavailable
from tests.backends.fixtures import make_conf
from tests.unit.db.schema import describe

RECORDED = json.loads((pathlib.Path(__file__).parent / 'glance33_schema.json').read_text())
OUR_TABLES = {
    'gl_operations', 'gl_reservations', 'gl_usage', 'gl_failures', 'gl_outbox', 'gl_outbox_sender',
    'gl_jobs', 'gl_copies', 'gl_alembic_version', 'gl_duties', 'gl_quarantine', 'gl_positions',
    'gl_placements',
}  # fmt: skip


def plain(value):
    return json.loads(json.dumps(value))


def execute(url, *statements):
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()


def test_sync_makes_the_tables_of_glance_33(engine_name, empty_url):
    admin.sync(make_conf(empty_url))
    assert plain(describe(empty_url)) == RECORDED[engine_name]


def test_the_record_is_what_glance_manage_makes(engine_name, empty_url, tmp_path, glance_manage):
    code, output = glance_manage(tmp_path, empty_url, 'db', 'sync')
    assert code == 0, output
    assert plain(describe(empty_url)) == RECORDED[engine_name]


def test_glance_accepts_our_database(engine_name, empty_url, tmp_path, glance_manage):
    admin.sync(make_conf(empty_url))
    assert tables.GLANCE_REVISION in glance_manage(tmp_path, empty_url, 'db', 'version')[1]
    assert glance_manage(tmp_path, empty_url, 'db', 'sync')[0] == 0
    if engine_name != 'postgresql':  # Glance's rolling commands refuse PostgreSQL
        assert glance_manage(tmp_path, empty_url, 'db', 'check')[0] == 0
    assert glance_manage(tmp_path, empty_url, 'db', 'purge')[0] == 0
    assert admin.check(make_conf(empty_url)) == 0


def test_sync_leaves_a_database_of_glance_as_it_is(engine_name, empty_url, tmp_path, glance_manage):
    assert glance_manage(tmp_path, empty_url, 'db', 'sync')[0] == 0
    assert admin.check(make_conf(empty_url)) == admin.EXPAND_NEEDED
    admin.sync(make_conf(empty_url))
    assert plain(describe(empty_url)) == RECORDED[engine_name]
    assert admin.check(make_conf(empty_url)) == admin.UP_TO_DATE


def test_our_migrations_make_our_tables(empty_url):
    admin.sync(make_conf(empty_url))
    migrated = describe(empty_url, prefix='gl_')
    assert set(migrated) == OUR_TABLES
    execute(empty_url, *(f'DROP TABLE {name}' for name in OUR_TABLES))
    engine = sa.create_engine(empty_url, poolclass=sa.pool.NullPool)
    tables.own.create_all(engine)
    engine.dispose()
    del migrated['gl_alembic_version']
    assert describe(empty_url, prefix='gl_') == migrated


def test_additional_indexes_are_there(engine_name, empty_url):
    admin.sync(make_conf(empty_url))
    engine = sa.create_engine(empty_url, poolclass=sa.pool.NullPool)
    found = {}
    for table in tables.glance.tables:
        for index in sa.inspect(engine).get_indexes(table):
            if index['name'].startswith('gl_'):
                found[index['name']] = (table, tuple(index['column_names']))
    engine.dispose()
    wanted = tables.INDEXES | ({} if engine_name == 'sqlite' else tables.FILTER_INDEXES)
    if engine_name == 'postgresql':
        wanted |= tables.UNUSUAL_INDEXES
        # an expression has no column
        wanted['gl_image_properties_value'] = ('image_properties', ('name', None))
    assert found == wanted


def test_version_and_check_of_an_empty_database(empty_url):
    conf = make_conf(empty_url)
    assert admin.version(conf) == (None, ())
    assert admin.check(conf) == admin.EXPAND_NEEDED
    admin.sync(conf)
    assert admin.version(conf).glance == '2024_1_contract01'
    assert admin.check(conf) == admin.UP_TO_DATE


def test_sync_twice_changes_nothing(empty_url):
    conf = make_conf(empty_url)
    admin.sync(conf)
    before = describe(empty_url), describe(empty_url, prefix='gl_'), admin.version(conf)
    admin.sync(conf)
    assert (describe(empty_url), describe(empty_url, prefix='gl_'), admin.version(conf)) == before


def test_a_database_of_the_version_before_gets_what_is_new(empty_url):
    conf = make_conf(empty_url)
    admin.sync(conf, 'gl_contract_001')
    assert admin.check(conf) == admin.EXPAND_NEEDED
    admin.sync(conf)
    assert admin.check(conf) == admin.UP_TO_DATE


def test_expand_first_and_contract_later(empty_url):
    conf = make_conf(empty_url)
    admin.sync(conf, 'gl_expand@head')
    assert admin.check(conf) == admin.CONTRACT_NEEDED
    admin.sync(conf)
    assert admin.check(conf) == admin.UP_TO_DATE


def test_an_interrupted_sync_is_taken_up_again(engine_name, empty_url):
    tables_made = ('images', 'image_tags')
    engine = sa.create_engine(empty_url, poolclass=sa.pool.NullPool)
    tables.glance.create_all(engine, tables=[tables.glance.tables[name] for name in tables_made])
    tables.own.create_all(engine, tables=[tables.usage])
    engine.dispose()
    admin.sync(make_conf(empty_url))
    assert plain(describe(empty_url)) == RECORDED[engine_name]
    assert set(describe(empty_url, prefix='gl_')) == OUR_TABLES


@pytest.mark.parametrize('revision', ['train_contract01', '2024_1_expand01', '2031_1_contract01'])
def test_another_release_of_glance_is_refused(empty_url, revision):
    conf = make_conf(empty_url)
    admin.sync(conf)
    execute(empty_url, f"UPDATE alembic_version SET version_num = '{revision}'")
    with pytest.raises(ConfigurationError, match=f'{revision}.*glance-manage db sync.*33'):
        admin.sync(conf)
    assert admin.check(conf) == admin.EXPAND_NEEDED


def test_a_database_from_before_alembic_is_refused(empty_url):
    execute(empty_url, 'CREATE TABLE migrate_version (version INTEGER)')
    with pytest.raises(ConfigurationError, match='glance-manage db sync'):
        admin.sync(make_conf(empty_url))


def test_a_foreign_images_table_is_left_alone(empty_url):
    execute(empty_url, 'CREATE TABLE images (id INTEGER PRIMARY KEY, title VARCHAR(10))')
    with pytest.raises(ConfigurationError, match='table images'):
        admin.sync(make_conf(empty_url))
    assert set(describe(empty_url)) == {'images'}


def test_a_newer_glance_lite_is_recognised(empty_url):
    conf = make_conf(empty_url)
    admin.sync(conf)
    newer = "UPDATE gl_alembic_version SET version_num = 'gl_contract_999'"
    execute(empty_url, newer + " WHERE version_num = 'gl_contract_001'")
    assert admin.check(conf) == admin.UP_TO_DATE
    with pytest.raises(ConfigurationError, match='newer glance-lite'):
        admin.sync(conf)


@pytest.mark.parametrize(
    'url', ['', 'nonsense', 'oracle://a/b', 'mssql://sa:secret@h/db', 'sqlite:/x:y:z//']
)
def test_a_bad_url_is_one_sentence(url):
    with pytest.raises(ConfigurationError) as caught:
        admin.version(make_conf(url))
    assert str(caught.value).startswith('[database] connection: ')
    assert 'secret' not in str(caught.value)


def test_a_database_that_is_down_is_one_sentence():
    url = 'postgresql://glance:secret@127.0.0.1:1/glance'
    with pytest.raises(Unavailable, match='does not answer') as caught:
        admin.version(make_conf(url))
    assert 'secret' not in str(caught.value)


def test_purge_refuses_nonsense(database_url):
    conf = make_conf(database_url)
    for age, rows in ((-1, 10), (10, 0), (10, -2), (10**9, 1)):
        with pytest.raises(Invalid):
            admin.purge(conf, age, rows)
