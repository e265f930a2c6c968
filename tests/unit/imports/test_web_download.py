# SPDX-License-Identifier: Apache-2.0
"""``web-download`` by itself, against servers that break off."""

from __future__ import annotations

import hashlib
import random

import pytest

from glance_lite import conf as configuration
from glance_lite.errors import Gone, Invalid, LimitExceeded, UrlRefused
from glance_lite.guarded import Guard
from glance_lite.imports import fetch as fetching
from glance_lite.imports.values import Job, Outcome
from glance_lite.imports.web_download import WebDownload
from glance_lite.testing.layers import make_image
from tests.backends import cutting
from tests.backends.cutting import Thing
from tests.unit.imports.work import FileWork

DATA = random.Random(9).randbytes(3 * 1024 * 1024)
VALIDATION = {'os_hash_algo': 'sha512', 'os_hash_value': hashlib.sha512(DATA).hexdigest()}
IMAGE = make_image('an-id').replace(disk_format='raw', container_format='bare')


@pytest.fixture
def served(tmp_path):
    """Serves a thing; gives the method and the url."""
    servers = []

    def serve(thing, text=''):
        server = cutting.serving(thing)
        port = server.__enter__()
        servers.append(server)
        file = tmp_path / 'glance-api.conf'
        file.write_text(
            f'[fetching]\nallowed_networks = 127.0.0.0/8\nretries = 2\n{text}'
            f'[import_filtering_opts]\nallowed_ports = [{port}]\n'
        )
        conf = configuration.parse(configuration.new(), ['--config-file', str(file)])
        method = WebDownload('web-download', conf, Guard.configured(conf))
        return method, f'http://127.0.0.1:{port}/image'

    yield serve
    for server in servers:
        server.__exit__(None, None, None)


def job(method, url, **more):
    fields = method.validate({'uri': url, 'name': 'web-download', **more}, IMAGE)
    return Job(serial=1, task_id='t', image=IMAGE, method='web-download', fields=fields)


def test_all_of_it(served, tmp_path):
    method, url = served(Thing(DATA, cuts=[1_000_000]))
    work = FileWork(tmp_path / 'staged')
    assert method.fetch(job(method, url, validation_data=VALIDATION), work) == Outcome()
    assert work.path.read_bytes() == DATA
    assert (0, None) in work.seen


def test_a_killed_process_is_followed(served, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, 'EVERY', 1024 * 1024)
    monkeypatch.setattr(fetching, 'REPORT', 0)
    thing = Thing(DATA)
    method, url = served(thing)
    work = FileWork(tmp_path / 'staged', cut=2 * 1024 * 1024)
    asked = job(method, url, validation_data=VALIDATION)
    with pytest.raises(Gone):
        method.fetch(asked, work)
    # What the database has is all that another process knows.
    following = FileWork(tmp_path / 'staged', note=dict(work.note))
    method.fetch(asked, following)
    assert work.path.read_bytes() == DATA
    assert thing.requests[-1]['range'].startswith('bytes=')
    # And when it had all been there already, nothing changes.
    method.fetch(asked, FileWork(tmp_path / 'staged', note=dict(following.note)))
    assert work.path.read_bytes() == DATA


def test_a_digest_that_is_another(served, tmp_path):
    method, url = served(Thing(DATA[:-1] + b'?'))
    with pytest.raises(Invalid, match='another sha512 digest'):
        method.fetch(job(method, url, validation_data=VALIDATION), FileWork(tmp_path / 'staged'))


def test_too_large(served, tmp_path):
    method, url = served(Thing(DATA))
    with pytest.raises(LimitExceeded):
        method.fetch(job(method, url), FileWork(tmp_path / 'staged', most=1000))


@pytest.mark.parametrize(
    'fields',
    [
        {}, {'uri': None}, {'uri': ''}, {'uri': 7}, {'uri': ['http://x/']},
        {'validation_data': []}, {'validation_data': {}}, {'validation_data': 'x'},
        {'validation_data': {'os_hash_algo': 'md5'}},
        {'validation_data': {'os_hash_algo': 'md5', 'os_hash_value': 5}},
        {'validation_data': {'os_hash_algo': 'md5', 'os_hash_value': 'no'}},
        {'validation_data': {'os_hash_algo': 'none', 'os_hash_value': '00'}},
        {'validation_data': {**VALIDATION, 'checksum': 'x'}},
    ],
)  # fmt: skip
def test_requests_that_make_no_sense(served, fields):
    method, url = served(Thing(b''))
    if 'validation_data' in fields:
        fields = {'uri': url, **fields}
    with pytest.raises(Invalid):
        method.validate(fields, IMAGE)


def test_credentials_are_not_taken(served):
    method, url = served(Thing(b''))
    with pytest.raises(UrlRefused, match='must not carry credentials'):
        method.validate({'uri': url.replace('//', '//user:secret@')}, IMAGE)


def test_only_what_is_known_is_kept(served):
    method, url = served(Thing(b''))
    assert method.validate({'uri': url, 'more': 1, 'name': 'web-download'}, IMAGE) == {'uri': url}
