# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import pathlib
import sqlite3
import subprocess
import sys

import pytest

from tests.api.harness import PASTE

MANAGE = pathlib.Path(sys.executable).parent / 'glance-lite-manage'


@pytest.fixture
def conf(tmp_path):
    file = tmp_path / 'glance-api.conf'
    file.write_text(
        f'[DEFAULT]\nenabled_backends = fast:file,cheap:file\n'
        f'[glance_store]\ndefault_backend = fast\n'
        f'[fast]\nfilesystem_store_datadir = {tmp_path}/fast\nweight = 5\n'
        f'[cheap]\nfilesystem_store_datadir = {tmp_path}/cheap\n'
        f'[paste_deploy]\nflavor = keystone\nconfig_file = {PASTE}\n'
        f'[database]\nconnection = sqlite:///{tmp_path}/glance.sqlite\n'
    )
    return file


def manage(conf, *arguments):
    done = subprocess.run(
        [str(MANAGE), '--config-file', str(conf), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONWARNINGS': 'ignore'},
    )
    return done.returncode, done.stdout, done.stderr


def test_the_life_of_a_database(conf):
    assert manage(conf, 'db', 'check')[0] == 3
    for _ in range(2):
        code, out, err = manage(conf, 'db', 'sync')
        assert (code, err) == (0, '') and '2024_1_contract01' in out
    assert manage(conf, 'db', 'check')[0] == 0
    assert manage(conf, 'db', 'version')[1].startswith('2024_1_contract01')
    code, out, _ = manage(conf, 'db', 'purge', '--age_in_days', '0', '--max_rows', '-1')
    assert code == 0 and 'image_properties: 0 rows removed' in out
    assert manage(conf, 'db', 'purge_images_table')[0] == 0


@pytest.mark.parametrize('arguments, word', [
    (('--age_in_days', '-1'), 'age_in_days'),
    (('--max_rows', '0'), 'max_rows'),
    (('--age_in_days', '99999999999'), 'age_in_days'),
])  # fmt: skip
def test_purge_refuses_nonsense(conf, arguments, word):
    manage(conf, 'db', 'sync')
    code, _, err = manage(conf, 'db', 'purge', *arguments)
    assert code != 0 and 'Traceback' not in err
    assert word.split('_')[0] in err or 'before all time' in err


def test_purge_takes_glances_options(conf, tmp_path):
    """They were overwritten by the defaults of positional arguments."""
    from glance_lite import conf as configuration
    from glance_lite.db import admin

    manage(conf, 'db', 'sync')
    parsed = configuration.parse(configuration.new(), ['--config-file', str(conf)])
    with admin._connected(parsed) as connection:
        import sqlalchemy as sa

        for number in range(3):
            connection.execute(
                sa.text(
                    'INSERT INTO tasks (id, type, status, owner, created_at, deleted, deleted_at) '
                    "VALUES (:id, 'import', 'failure', 'x', '2020-01-01', 1, :gone)"
                ),
                {'id': str(number), 'gone': '2020-01-01 00:00:00'},
            )
        connection.commit()
    assert 'tasks: 2 rows' in manage(conf, 'db', 'purge', '--max_rows', '2')[1]
    assert 'tasks: 0 rows' in manage(conf, 'db', 'purge', '--age_in_days', '36500')[1]
    assert 'tasks: 1 rows' in manage(conf, 'db', 'purge')[1]


def test_pipeline_show(conf):
    code, out, _ = manage(conf, 'pipeline', 'show')
    assert code == 0
    filters = 'cors > http_proxy_to_wsgi > versionnegotiation > osprofiler > authtoken > context'
    assert out.startswith(f'glance-api-keystone\n  {filters} > rootapp\n')
    assert '  auth > policy > quota > location > db\n' in out
    assert 'nothing to do for: property_protection, notifier' in out
    assert '  fast (file, weight 5, default): write, sendfile, list, copy\n' in out
    lines = dict(line.split(maxsplit=1) for line in out.partition('operations\n')[2].splitlines())
    assert lines['get_image'] == 'policy > db'
    assert lines['upload'] == 'auth > policy > quota > location'
    assert lines['claim_upload'] == 'db (between layers)'


def test_quota_recount(conf):
    """What somebody has written past the counters."""
    conf.write_text(conf.read_text().replace('[DEFAULT]', '[DEFAULT]\nuser_storage_quota = 1GB'))
    manage(conf, 'db', 'sync')
    assert manage(conf, 'quota', 'recount')[:2] == (0, '0 projects counted, 0 wrong\n')
    connection = sqlite3.connect(conf.parent / 'glance.sqlite')
    with connection:
        for number, owner in enumerate(('alpha', 'alpha', 'beta')):
            connection.execute(
                'INSERT INTO images (id, status, created_at, deleted, min_disk, min_ram, owner) '
                "VALUES (?, 'queued', '2026-01-01', 0, 0, 0, ?)",
                (str(number), owner),
            )
    # Nobody has counted them yet, which is no mistake.
    assert manage(conf, 'quota', 'recount')[:2] == (0, '2 projects counted, 0 wrong\n')
    assert manage(conf, 'quota', 'recount', '--fix')[:2] == (0, '2 projects counted, 0 put right\n')
    with connection:
        connection.execute("UPDATE images SET owner = 'beta' WHERE id = '0'")
    code, out, _ = manage(conf, 'quota', 'recount')
    assert code == 1
    assert out == (
        'alpha  images: 2, but there are 1\nbeta  images: 1, but there are 2\n'
        '2 projects counted, 2 wrong\n'
    )
    code, out, _ = manage(conf, 'quota', 'recount', '--project', 'beta', '--fix')
    assert (code, out.splitlines()[-1]) == (0, '1 projects counted, 1 put right')
    assert manage(conf, 'quota', 'recount', '--project', 'beta')[0] == 0
    assert manage(conf, 'quota', 'recount')[0] == 1


def test_quota_recount_shows_how_far_it_is(conf):
    manage(conf, 'db', 'sync')
    connection = sqlite3.connect(conf.parent / 'glance.sqlite')
    with connection:
        connection.execute("INSERT INTO gl_usage (project, changes) VALUES ('alpha', 0)")
    ours, its = os.openpty()
    command = [MANAGE, '--config-file', conf, 'quota', 'recount']
    done = subprocess.run(command, stderr=its, stdout=subprocess.PIPE)
    os.close(its)
    shown = os.read(ours, 10000).decode()
    os.close(ours)
    assert done.returncode == 0
    assert '0/1' in shown and f'[{"#" * 40}] 1/1' in shown


def test_pipeline_show_writes_a_file(conf, tmp_path):
    picture = tmp_path / 'pipeline.svg'
    show = ('pipeline', 'show', '--format', 'svg', '--output')
    assert manage(conf, *show, str(picture)) == (0, '', '')
    assert picture.read_text().startswith('<?xml')
    code, _, err = manage(conf, *show, str(tmp_path / 'nowhere' / 'file'))
    said = f'glance-lite-manage: {tmp_path}/nowhere/file cannot be written: No such file'
    assert code == 1 and err.startswith(said) and err.count('\n') == 1


@pytest.mark.parametrize('arguments', [(), ('db',), ('db', 'nosuch'), ('pipeline',)])
def test_incomplete_commands_say_what_there_is(conf, arguments):
    code, _, err = manage(conf, *arguments)
    assert code == 2 and 'usage' in err and 'Traceback' not in err


def test_help(conf):
    for arguments in (
        ('--help',),
        ('db', '--help'),
        ('db', 'purge', '--help'),
        ('quota', 'recount', '--help'),
    ):
        code, out, _ = manage(conf, *arguments)
        assert code == 0 and 'usage' in out


def test_a_missing_file_is_one_sentence(tmp_path):
    code, _, err = manage(tmp_path / 'nosuch.conf', 'db', 'version')
    assert code == 1
    assert err == (
        f'glance-lite-manage: The configuration file {tmp_path}/nosuch.conf cannot be read\n'
    )


def test_outbox_show(conf):
    manage(conf, 'db', 'sync')
    assert manage(conf, 'outbox', 'show') == (0, 'waiting: 0\ndropped: 0\n', '')
