# SPDX-License-Identifier: Apache-2.0
"""Logging, each case in a process of its own: oslo.log sets up the whole process."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

PROGRAM = """
import logging, pathlib, sys
from oslo_config import cfg
from glance_lite import conf as configuration, logs
from glance_lite.context import RequestContext
from glance_lite.errors import ConfigurationError
conf = cfg.CONF
configuration.register(conf)
logs.register(conf)
try:
    configuration.parse(conf, ['--config-file', sys.argv[1]])
    logs.setup(conf)
except ConfigurationError as ex:
    sys.exit(str(ex))
log = logging.getLogger('glance_lite.test')
log.info('outside')
RequestContext(request_id='req-mine', global_request_id=None, project_id='alpha', user_id='u')
log.info('inside')
log.debug('detail before')
path = pathlib.Path(sys.argv[1])
path.write_text(path.read_text().replace('debug = false', 'debug = true'))
conf.mutate_config_files()
log.debug('detail after')
"""


@pytest.fixture
def run(tmp_path):
    def run(text):
        file = tmp_path / 'glance-api.conf'
        file.write_text(f'[DEFAULT]\ndebug = false\n{text}\n')
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', PROGRAM, str(file)],
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def line(text, word):
    return next(one for one in text.splitlines() if one.endswith(word))


def test_lines_carry_the_request_id(run):
    code, text = run('')
    assert code == 0
    assert 'req-mine' in line(text, 'inside') and 'alpha' in line(text, 'inside')
    assert 'req-' not in line(text, 'outside')


def test_debug_changes_while_it_runs(run):
    _, text = run('')
    assert 'detail before' not in text
    assert 'detail after' in text


def test_log_file(run, tmp_path):
    _, text = run(f'log_file = {tmp_path}/api.log')
    assert text == ''
    assert 'req-mine' in line((tmp_path / 'api.log').read_text(), 'inside')


def test_removed_options_are_warned_of_once(run):
    _, text = run('registry_host = 192.0.2.1\nnonsense = ignored')
    assert text.count('registry_host') == 1 and 'WARNING' in line(text, 'no registry service')
    assert 'nonsense' not in text


@pytest.mark.parametrize('option, value', [
    ('log_file', '/proc/none/api.log'),
    ('log_config_append', '/nonexistent/logging.conf'),
    pytest.param('use_journal', 'true', marks=pytest.mark.skipif(
        importlib.util.find_spec('systemd') is not None, reason='the journal is there')),
])  # fmt: skip
def test_a_log_that_cannot_be_written_stops_the_start(run, tmp_path, option, value):
    code, text = run(f'{option} = {value}')
    assert code == 1
    assert len(text.strip().splitlines()) == 1
    assert f'{tmp_path}/glance-api.conf: [DEFAULT] {option}' in text
