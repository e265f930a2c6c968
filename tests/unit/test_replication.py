# SPDX-License-Identifier: Apache-2.0
"""Replication when the other side lies: a server that is made for it, or a directory."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import threading
import uuid

import pytest

from glance_lite.cmd import replicator
from glance_lite.replication import peer
from glance_lite.replication.access import Options, connect, versioned
from glance_lite.replication.digests import Digests, WrongData, verified
from glance_lite.replication.directory import Directory
from glance_lite.replication.record import ReplicationError, parse, shown

ID = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'
DATA = b'some data'


def document(**more: object) -> dict[str, object]:
    """What a service tells of a good image."""
    return {
        'id': ID, 'status': 'active', 'name': 'x', 'disk_format': 'raw', 'container_format': 'bare',
        'size': len(DATA), 'checksum': hashlib.md5(DATA).hexdigest(), 'os_hash_algo': 'sha512',
        'os_hash_value': hashlib.sha512(DATA).hexdigest(), 'min_disk': 0, 'min_ram': 0,
        'owner': None, 'visibility': 'shared', 'protected': False, 'os_hidden': False, 'tags': [],
        **more,
    }  # fmt: skip


class Liar(http.server.BaseHTTPRequestHandler):
    """Answers from ``answers``: path -> (status, headers, body)."""

    answers: dict[str, tuple[int, dict[str, str], bytes]]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status, headers, body = self.answers.get(self.path.partition('?')[0], (404, {}, b''))
        self.send_response(status)
        for name, value in {'Content-Length': str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(peer, 'PAUSE', 0.001)


@pytest.fixture
def liar():
    """A function that sets the answers; ``liar.url`` and ``liar.asked``."""
    kind = type('One', (Liar,), {'answers': {}, 'asked': []})
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), kind)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    kind.url = f'http://127.0.0.1:{server.server_address[1]}'
    yield kind
    server.shutdown()
    server.server_close()


def page(*images: object, **more: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps({'images': images, **more}).encode()


def dump(capsys, url: str, path: object, *more: str) -> tuple[int, str]:
    code = replicator.main(['dump', url, str(path), '--filter', 'os_hidden=false', *more])
    out = capsys.readouterr()
    return code, out.out + out.err


# --- a service that lies


def test_a_good_image(liar, tmp_path, capsys):
    liar.answers = {
        '/v2/images': page(document()),
        f'/v2/images/{ID}/file': (200, {}, DATA),
    }
    assert dump(capsys, liar.url, tmp_path)[0] == 0
    assert (tmp_path / (ID + '.img')).read_bytes() == DATA


@pytest.mark.parametrize(
    'wrong',
    [
        {'id': '../../escaped'},
        {'id': ID + '/../x'},
        {'id': None},
        {'id': [ID]},
        {'status': 'active\x1b[2J'},
        {'size': -1},
        {'size': True},
        {'size': '9'},
        {'size': 2**70},
        {'os_hash_value': '../x'},
        {'checksum': 5},
        {'min_ram': True},
        {'tags': 'abc'},
        {'tags': [1]},
        {'name': {'a': 1}},
        {'colour': ['red']},
        {'colour': 'x' * 100_000},
        {'protected': 'yes'},
    ],
    ids=str,
)
def test_an_image_that_makes_no_sense(liar, tmp_path, capsys, wrong):
    """It fails, the others are dumped, and nothing is written elsewhere."""
    good = str(uuid.uuid4())
    liar.answers = {
        '/v2/images': page(document(**wrong), document(id=good)),
        f'/v2/images/{ID}/file': (200, {}, DATA),
        f'/v2/images/{good}/file': (200, {}, DATA),
    }
    inside = tmp_path / 'inside'
    code, text = dump(capsys, liar.url, inside)
    assert (code, '1 dumped, 1 failed' in text, '\x1b' in text) == (1, True, False)
    assert {path.name for path in tmp_path.rglob('*')} == {'inside', good, good + '.img'}


@pytest.mark.parametrize(
    'answer',
    [
        (200, {}, b'<html>'),
        (200, {}, b'[]'),
        (200, {}, b'{"images": 5}'),
        (200, {}, b'{"images": [], "next": 7}'),
        (200, {}, b'[' * 100_000),
        (302, {'Location': 'http://169.254.169.254/'}, b''),
        (401, {}, b'<html><head><title>x</title></head>no \x1b[31mtoken</html>'),
        (200, {'Content-Encoding': 'gzip'}, b'no gzip'),
    ],
    ids=lambda answer: repr(answer)[:40],
)
def test_a_list_that_makes_no_sense(liar, tmp_path, capsys, answer):
    liar.answers = {'/v2/images': answer}
    code, text = dump(capsys, liar.url, tmp_path)
    assert (code, text.count('\n'), '\x1b' in text) == (2, 1, False), text
    assert text.startswith('glance-lite-replicator: ')
    assert list(tmp_path.iterdir()) == []


def test_a_list_without_end(liar, tmp_path, capsys):
    """``next`` leads to the same page; nor is another host asked."""
    liar.answers = {'/v2/images': page(document(), next='http://192.0.2.1/v2/images?marker=x')}
    code, text = dump(capsys, liar.url, tmp_path)
    assert code == 2 and 'twice' in text
    assert liar.asked[1] == '/v2/images?marker=x'


@pytest.mark.parametrize(
    'answer',
    [
        (200, {}, DATA + b'more'),
        (200, {}, DATA[:-1]),
        (200, {}, b''),
        (204, {}, b''),
        (200, {}, b'other dat'),
        (206, {'Content-Range': 'bytes 3-5/9'}, DATA[3:6]),
        (302, {'Location': 'http://169.254.169.254/'}, b''),
        (200, {'Content-Length': '9', 'Content-Encoding': 'gzip'}, b'other dat'),
    ],
    ids=lambda answer: repr(answer)[:40],
)
def test_data_that_was_not_promised(liar, tmp_path, capsys, answer):
    liar.answers = {'/v2/images': page(document()), f'/v2/images/{ID}/file': answer}
    code, text = dump(capsys, liar.url, tmp_path)
    assert code == 1, text
    assert not (tmp_path / ID).exists() and not (tmp_path / (ID + '.img')).exists()


def test_a_range_that_is_not_heeded(liar, tmp_path, capsys):
    """All of it comes though a part was asked for: what is there already is passed over."""
    (tmp_path / (ID + '.img.part')).write_bytes(DATA[:4])
    liar.answers = {'/v2/images': page(document()), f'/v2/images/{ID}/file': (200, {}, DATA)}
    assert dump(capsys, liar.url, tmp_path, '--chunksize', '3')[0] == 0
    assert (tmp_path / (ID + '.img')).read_bytes() == DATA


def test_nobody_is_there(tmp_path, capsys):
    code, text = dump(capsys, 'http://127.0.0.1:1', tmp_path)
    assert code == 2 and 'Traceback' not in text


# --- a directory that lies


def load(capsys, path: object) -> tuple[int, str]:
    """Into a service that nobody may ask: all of it must be refused before."""
    code = replicator.main(['load', 'http://127.0.0.1:1', str(path), '--attempts', '1'])
    return code, capsys.readouterr().out


def test_links_are_not_followed(tmp_path, capsys):
    secret = tmp_path / 'secret'
    secret.write_text(json.dumps(document()))
    inside = tmp_path / 'inside'
    inside.mkdir()
    (inside / ID).symlink_to(secret)
    assert load(capsys, inside)[0] == 1
    (inside / ID).unlink()
    (inside / ID).write_text(json.dumps(document()))
    (tmp_path / 'data').write_bytes(DATA)
    (inside / (ID + '.img')).symlink_to(tmp_path / 'data')
    code, text = load(capsys, inside)
    assert code == 1 and 'data is missing' in text


def test_a_dump_does_not_write_through_a_link(liar, tmp_path, capsys):
    victim = tmp_path / 'victim'
    victim.write_text('mine')
    inside = tmp_path / 'inside'
    inside.mkdir()
    for name in (ID + '.img.part', ID + '.new'):
        (inside / name).symlink_to(victim)
        liar.answers = {'/v2/images': page(document()), f'/v2/images/{ID}/file': (200, {}, DATA)}
        assert dump(capsys, liar.url, inside)[0] == 1
        (inside / name).unlink()
    os.mkfifo(inside / (ID + '.new'))
    assert dump(capsys, liar.url, inside)[0] == 1
    assert victim.read_text() == 'mine'


@pytest.mark.parametrize(
    'text',
    [
        '', '[]', '{', '[' * 100_000, json.dumps(document(id=ID.replace('a', 'b'))),
        json.dumps(document(size=5)), json.dumps(document(size=None)),
        json.dumps({**document(), 'properties': {'id': '../x', 'a': 5}}),
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_records_that_make_no_sense(tmp_path, capsys, text):
    (tmp_path / ID).write_text(text)
    (tmp_path / (ID + '.img')).write_bytes(DATA)
    code, out = load(capsys, tmp_path)
    assert code == 1 and '1 failed' in out and 'connection' not in out


def test_what_is_no_image_is_left_alone(tmp_path, capsys):
    (tmp_path / 'README').write_text('hello')
    assert load(capsys, tmp_path) == (0, 'no images\n')


def test_a_directory_that_is_none(tmp_path, capsys):
    assert load(capsys, tmp_path / 'x')[0] == 2


def test_known_is_what_was_written(tmp_path):
    target = Directory(str(tmp_path), 1024)
    record = parse(document(colour='blue'))
    target.write(record, record.document())
    assert target.known(ID) == record
    assert (tmp_path / ID).stat().st_mode & 0o007 == 0
    target.close()


# --- digests


@pytest.mark.parametrize('cut', [1, 4, 9, 20])
def test_the_last_chunk_comes_only_when_all_is_right(cut):
    for given, right in ((DATA, True), (DATA[:-1] + b'x', False), (DATA[:-1], False)):
        record = parse(document())
        chunks = [given[start : start + cut] for start in range(0, len(given), cut)]
        got = []
        try:
            for chunk in verified(chunks, record, Digests(record)):
                got.append(chunk)
            assert right
        except WrongData:
            assert not right
        assert (b''.join(got) == DATA) == right
        assert right or len(b''.join(got)) < len(DATA)


def test_without_a_digest_that_is_known_the_checksum_counts():
    record = parse(document(os_hash_algo='shake_128'))
    assert list(verified([DATA], record, Digests(record))) == [DATA]
    with pytest.raises(WrongData, match='checksum'):
        list(verified([DATA[::-1]], record, Digests(record)))


# --- addresses


@pytest.mark.parametrize(
    ('address', 'url'),
    [
        ('http://a:9292', 'http://a:9292/v2'),
        ('http://a:9292/v2/', 'http://a:9292/v2'),
        ('https://a/image/v2.9', 'https://a/image/v2'),
        ('a:9292', 'http://a:9292/v2'),
    ],
)
def test_addresses(address, url):
    assert connect(address, Options()).url == url


@pytest.mark.parametrize(
    'url', ['ftp://a', 'http://', 'http://a:0', 'http://u:secret@a', 'http://a?b', 'http://[a']
)
def test_addresses_that_are_none(url):
    with pytest.raises(ReplicationError) as caught:
        versioned(url)
    assert 'secret' not in caught.value.message


def test_the_environment_has_nothing(monkeypatch, capsys):
    monkeypatch.delenv('NOWHERE_OS_AUTH_URL', raising=False)
    assert replicator.main(['size', 'env:NOWHERE']) == 2
    assert 'NOWHERE_OS_' in capsys.readouterr().err


def test_clouds_need_openstacksdk(monkeypatch, capsys):
    monkeypatch.setitem(__import__('sys').modules, 'openstack', None)
    assert replicator.main(['size', 'cloud:east']) == 2
    assert 'pip install glance-lite[clouds]' in capsys.readouterr().err


@pytest.mark.parametrize('option', ['--from-header', '--from-auth', '--filter'])
def test_options_without_a_value(capsys, option):
    assert replicator.main(['size', 'http://127.0.0.1:1', option, 'x']) == 2
    assert 'x' in capsys.readouterr().err


def test_shown_is_fit_for_a_terminal():
    assert shown('a\x1b\n\u202eb') == 'a???b'
    assert len(shown('x' * 1000)) == 200
