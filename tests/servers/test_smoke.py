# SPDX-License-Identifier: Apache-2.0
"""What clients do to servers: the same under glance-lite-api, uWSGI and gunicorn."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest
import requests

from tests.servers import processes
from tests.servers.processes import until
from tests.servers.test_servers import MIB, Caller, noise
from tests.servers.wire import Wire

OCTETS = 'application/octet-stream'
NOWHERE = '/v2/images/5f3c2a1e-0000-4000-8000-000000000000/file'

#: How many clients may be slow with their bodies at once. Where each takes a thread, a few; a
#: proxy that buffers requests belongs in front of such a server.
SLOW = {'api': 100, 'uwsgi': 6, 'gunicorn': 3}


@pytest.fixture(scope='module', params=processes.SERVERS)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope='module')
def server(kind, tmp_path_factory) -> Iterator[processes.Server]:
    """One of each kind for all of these: they also must not disturb each other."""
    made = processes.settings(tmp_path_factory.mktemp(kind), default='show_multiple_locations = 0')
    with processes.SERVERS[kind](made) as running:
        yield running
        assert 'Traceback' not in running.text()
        assert not running.lines(' 500 ')


@pytest.fixture
def wire(server) -> Iterator[Wire]:
    with Wire(server.url) as opened:
        yield opened


def create(wire: Wire) -> str:
    body = json.dumps({'disk_format': 'raw', 'container_format': 'bare'}).encode()
    status, text = wire.ask('POST', '/v2/images', body, Content_Type='application/json')
    assert status == 201, text
    return json.loads(text)['id']


def chunks(data: bytes, *sizes: int) -> Iterator[bytes]:
    """A chunked body, whose chunks are of these sizes in turn."""
    turn = 0
    while data:
        size = sizes[turn % len(sizes)]
        piece, data = data[:size], data[size:]
        yield b'%x\r\n%s\r\n' % (len(piece), piece)
        turn += 1
    yield b'0\r\n\r\n'


def upload_again(server: processes.Server, image_id: str, data: bytes) -> None:
    """Another upload gets through, once that of a client who has gone is given up."""
    url = f'{server.url}/v2/images/{image_id}/file'
    headers = {**processes.identity('alpha'), 'Content-Type': OCTETS}

    def done() -> bool:
        answer = requests.put(url, data=data, headers=headers, timeout=60)
        assert answer.status_code in (204, 409), answer.text
        return answer.status_code == 204

    until(done, 'the upload is given up')
    Caller(server.url, 'alpha').check(image_id, data)
    assert len([path for path in server.files() if image_id in path.name]) == 1


def test_several_requests_on_one_connection(kind, wire):
    data = noise(300_000)
    image_id = create(wire)
    path = f'/v2/images/{image_id}'
    asked = 1
    for method, suffix, body, headers, status, answer in (
        ('PUT', '/file', data, {'Content_Type': OCTETS}, 204, b''),
        ('GET', '/file', None, {}, 200, data),
        ('HEAD', '/file', None, {}, 200, b''),
        ('GET', '/file', None, {'Range': 'bytes=7-99'}, 206, data[7:100]),
        ('GET', '/nothing', None, {}, 404, None),
        # Refused before its body is read, and the next request follows on its heels.
        ('PUT', '/file', data[:50_000], {'Content_Type': OCTETS}, 409, None),
        ('GET', '/file', None, {'Range': 'bytes=999999-'}, 416, None),
        ('POST', '/tags', b'{', {}, 404, None),
        ('DELETE', '', None, {}, 204, b''),
        ('GET', '', None, {}, 404, None),
    ):
        found = wire.ask(method, path + suffix, body, **headers)
        asked += 1
        assert found[0] == status, (method, suffix, found)
        assert answer is None or found[1] == answer
    # http-socket of uWSGI knows one request for each connection.
    assert wire.opened == (asked if kind == 'uwsgi' else 1)


def test_uploads_chunked_and_sized(wire, server):
    data = noise(3 * MIB + 1)
    for chunked in (True, False):
        image_id = create(wire)
        if wire.closed:
            wire.open()
        head = {'Transfer_Encoding': 'chunked'} if chunked else {'Content_Length': len(data)}
        wire.send(wire.head('PUT', f'/v2/images/{image_id}/file', Content_Type=OCTETS, **head))
        for piece in chunks(data, 1, 70_000, MIB, 3) if chunked else [data[:5], data[5:]]:
            wire.send(piece)
        assert wire.answer('PUT')[0] == 204
        Caller(server.url, 'alpha').check(image_id, data)


def test_expect_100_continue(wire, server):
    """Whoever asks first is answered first, or sends after a second of silence, as curl does."""
    data = noise(100_000)
    image_id = create(wire)
    for path, status in ((f'/v2/images/{image_id}/file', 204), (NOWHERE, 404)):
        with Wire(server.url) as asking:
            asking.send(
                asking.head(
                    'PUT', path, Content_Type=OCTETS, Content_Length=len(data),
                    Expect='100-continue',
                )
            )  # fmt: skip
            asking.socket.settimeout(1)
            with contextlib.suppress(TimeoutError):
                asking.socket.recv(1, socket.MSG_PEEK)
            asking.socket.settimeout(processes.PATIENCE)
            if status == 204:
                asking.send(data)
            assert asking.answer('PUT')[0] == status
    Caller(server.url, 'alpha').check(image_id, data)


@pytest.mark.parametrize('sent', [0, 1, 1_500_000, 2 * MIB - 1])
@pytest.mark.parametrize('chunked', [False, True], ids=['sized', 'chunked'])
def test_a_client_that_stops_sending_and_goes(wire, server, chunked, sent):
    data = noise(2 * MIB)
    image_id = create(wire)
    path = f'/v2/images/{image_id}/file'
    head = {'Transfer_Encoding': 'chunked'} if chunked else {'Content_Length': len(data)}
    with Wire(server.url) as leaving:
        leaving.send(leaving.head('PUT', path, Content_Type=OCTETS, **head))
        leaving.send((b'%x\r\n' % len(data) if chunked else b'') + data[:sent])
        # It is there and silent: others are served.
        assert wire.ask('GET', f'/v2/images/{image_id}')[0] == 200
    upload_again(server, image_id, data)


def test_a_client_that_stops_reading(wire, server):
    alpha = Caller(server.url, 'alpha')
    data = noise(32 * MIB)
    image_id = alpha.create()
    alpha.upload(image_id, data)
    with Wire(server.url) as deaf:
        deaf.send(deaf.head('GET', f'/v2/images/{image_id}/file'))
        assert deaf.socket.recv(1000).startswith(b'HTTP/1.1 200')
        assert alpha.download(image_id) == data
        assert wire.ask('GET', f'/v2/images/{image_id}')[0] == 200
    assert alpha.download(image_id) == data
    alpha('DELETE', f'/images/{image_id}', 204)


def test_slow_clients_beside_a_fast_one(kind, server):
    alpha = Caller(server.url, 'alpha')
    data = noise(1000)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(Wire(server.url)) for _ in range(SLOW[kind])]
        made = [alpha.create(name=f'slow {number}') for number in range(len(slow))]
        for one, image_id in zip(slow, made, strict=True):
            path = f'/v2/images/{image_id}/file'
            one.send(one.head('PUT', path, Content_Type=OCTETS, Content_Length=len(data)))
        for step in range(0, 900, 300):
            for one in slow:
                one.send(data[step : step + 300])
            begun = time.monotonic()
            for _ in range(5):
                fast = alpha.create()
                alpha.upload(fast, data)
                assert alpha.download(fast) == data
            # Generous: none of it waits for somebody slow.
            assert time.monotonic() - begun < 30
        for one in slow:
            one.send(data[900:])
        for one, image_id in zip(slow, made, strict=True):
            assert one.answer('PUT')[0] == 204
            alpha.check(image_id, data)


def test_garbage_after_a_request(wire, server):
    wire.send(wire.head('GET', '/v2/images?limit=1') + b'\x16\x03\x01\x00\xff garbage\r\n\r\n')
    assert wire.answer()[0] == 200
    # What follows is refused, or nobody listens to it; no answer to anything but that.
    with contextlib.suppress(ConnectionError):
        rest = wire.socket.recv(1 << 16)
        assert not rest or b' 400 ' in rest.partition(b'\r\n')[0] or b'400' in rest, rest
    with Wire(server.url) as other:
        assert other.ask('GET', '/v2/images?limit=1')[0] == 200


def test_headers_that_are_too_large(server):
    with Wire(server.url) as large:
        answer = b''
        with contextlib.suppress(ConnectionError):
            large.send(large.head('GET', '/v2/images', X_Filler='x' * 200_000))
            answer = large.socket.recv(100)
        assert not answer or b' 4' in answer.partition(b'\r\n')[0], answer
    with Wire(server.url) as other:
        assert other.ask('GET', '/v2/images?limit=1')[0] == 200


@pytest.mark.parametrize(
    'head',
    [
        {'Transfer_Encoding': 'gzip, chunked'},
        {'Transfer_Encoding': 'identity'},
        {'Transfer_Encoding': 'chunked', 'Content_Length': 5},
    ],
    ids=['gzip', 'identity', 'both'],
)
def test_a_body_that_ends_nobody_knows_where(server, head):
    """It was an empty image for uWSGI."""
    alpha = Caller(server.url, 'alpha')
    image_id = alpha.create()
    with Wire(server.url) as wire:
        path = f'/v2/images/{image_id}/file'
        wire.send(wire.head('PUT', path, Content_Type=OCTETS, **head) + b'5\r\nabcde\r\n0\r\n\r\n')
        status = wire.answer('PUT')[0]
    assert status == 501 or 400 <= status < 500
    assert alpha.show(image_id)['status'] == 'queued'


@pytest.mark.parametrize('chunked', [False, True], ids=['sized', 'chunked'])
def test_an_unread_body_does_not_cost_the_answer(server, chunked):
    """A client that sends all of it before it reads gets its answer, and asks again."""
    session = requests.Session()
    session.headers.update(processes.identity('alpha'), **{'Content-Type': OCTETS})
    data = noise(2 * MIB)
    for _ in range(3):
        body = iter([data[:1000], data[1000:]]) if chunked else data
        answer = session.put(server.url + NOWHERE, data=body, timeout=60)
        assert answer.status_code == 404
        assert session.get(server.url + '/v2/images?limit=1', timeout=60).status_code == 200


@pytest.mark.parametrize('chunked', [False, True], ids=['sized', 'chunked'])
def test_a_refused_upload_is_not_read_to_its_end(server, chunked):
    """The answer comes at once, and the connection ends instead of taking gigabytes."""
    size = 4 << 30
    head = {'Transfer_Encoding': 'chunked'} if chunked else {'Content_Length': size}
    piece = b'100000\r\n' + bytes(MIB) + b'\r\n' if chunked else bytes(MIB)
    with Wire(server.url) as wire:
        wire.send(wire.head('PUT', NOWHERE, Content_Type=OCTETS, **head))
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < size:
                wire.send(piece)
                sent += len(piece)
        # Much of it waits in buffers of the system.
        assert sent < 64 * MIB
    with Wire(server.url) as wire:
        wire.send(wire.head('PUT', NOWHERE, Content_Type=OCTETS, **head))
        assert wire.answer('PUT')[0] == 404
