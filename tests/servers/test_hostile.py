# SPDX-License-Identifier: Apache-2.0
"""What nobody sends who means well: glance-lite-api refuses it, and takes nothing else for it."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator

import pytest

from tests.servers import processes
from tests.servers.processes import until
from tests.servers.test_servers import MIB, Caller, noise
from tests.servers.wire import Wire

OCTETS = 'application/octet-stream'

#: What would be another request if the one before ended elsewhere. Its answer is known by this.
SMUGGLED = b'GET /v2/schemas/members HTTP/1.1\r\nHost: x\r\nX-Identity-Status: Confirmed\r\n\r\n'


@pytest.fixture(scope='module')
def server(tmp_path_factory) -> Iterator[processes.Server]:
    made = processes.settings(tmp_path_factory.mktemp('hostile'), default='workers = 1')
    made.edit('workers = 2\n', '')
    with processes.api(made) as running:
        yield running
        assert 'Traceback' not in running.text()
        assert not running.lines(' 500 ')


def exchange(server: processes.Server, data: bytes, seconds: float = 20) -> bytes:
    """Everything that the server says until it closes the connection."""
    with Wire(server.url) as wire:
        wire.socket.settimeout(seconds)
        wire.send(data)
        wire.socket.shutdown(socket.SHUT_WR)
        answer = b''
        while piece := wire.socket.recv(1 << 16):
            answer += piece
        return answer


def post(*headers: bytes, body: bytes = b'') -> bytes:
    """A request whose header lines go as they are."""
    return b'\r\n'.join([b'POST /v2/images HTTP/1.1', b'Host: x', *headers, b'', body])


def one_refusal(answer: bytes, *statuses: int) -> None:
    """There is one answer, and it says no."""
    assert answer.count(b'HTTP/1.') == 1, answer
    assert int(answer.split()[1]) in statuses, answer
    assert b'connection: close' in answer.lower(), answer


CHUNKED = b'Transfer-Encoding: chunked'


@pytest.mark.parametrize(
    'headers, status',
    {
        'both': ([b'Content-Length: 4', CHUNKED], 400),
        'both, turned': ([CHUNKED, b'Content-Length: 4'], 400),
        'two lengths': ([b'Content-Length: 4', b'Content-Length: 40'], 400),
        'two equal lengths': ([b'Content-Length: 4', b'Content-Length: 4'], 400),
        'a list of lengths': ([b'Content-Length: 4, 4'], 400),
        'a sign': ([b'Content-Length: +4'], 400),
        'negative': ([b'Content-Length: -4'], 400),
        'an underscore': ([b'Content-Length: 0_4'], 400),
        'hexadecimal': ([b'Content-Length: 0x4'], 400),
        'no length': ([b'Content-Length:'], 400),
        'a very long length': ([b'Content-Length: ' + b'9' * 30], 400),
        'digits of others': ([b'Content-Length: \xb2'], 400),
        'two codings': ([CHUNKED, CHUNKED], 400),
        'another coding': ([b'Transfer-Encoding: identity'], 501),
        'a list of codings': ([b'Transfer-Encoding: gzip, chunked'], 501),
        'nearly chunked': ([b'Transfer-Encoding: xchunked'], 501),
        'chunked and more': ([b'Transfer-Encoding: chunked;x=1'], 501),
        'vertical tab': ([b'Transfer-Encoding: \x0bchunked'], 400),
        'blank before the colon': ([b'Transfer-Encoding : chunked'], 400),
        'no colon': ([b'X-A', CHUNKED], 400),
        'folded': ([b'X-A: 1', b' ' + CHUNKED], 400),
        'folded with a tab': ([b'Transfer-Encoding:', b'\tchunked'], 400),
        'a bare CR': ([b'X-A: 1\r' + CHUNKED], 400),
        'NUL': ([b'X-A: a\0b'], 400),
        'NUL in a name': ([b'X-A\0: a'], 400),
        'no name': ([b': a'], 400),
        'DEL': ([b'X-A: a\x7f'], 400),
        'two hosts': ([b'Host: y'], 400),
        'many headers': ([b'X-%d: 1' % number for number in range(200)], 431),
    }.values(),
)
def test_headers_that_two_could_read_otherwise(server, headers, status):
    one_refusal(exchange(server, post(*headers, body=b'0\r\n\r\n' + SMUGGLED)), status)


@pytest.mark.parametrize(
    'line',
    [
        b'GET /v2/images',
        b'GET  /v2/images HTTP/1.1',
        b'GET /v2/images  HTTP/1.1',
        b'GET /v2/ima ges HTTP/1.1',
        b'GET\t/v2/images\tHTTP/1.1',
        b'GET /v2/im\0ages HTTP/1.1',
        b'G(T /v2/images HTTP/1.1',
        b' GET /v2/images HTTP/1.1',
        b'GET /v2/images HTTP/1.1 ',
        b'GET /v2/images HTTP/11',
        b'GET /v2/images http/1.1',
        b'GET /v2/images HTTP/2.0',
        b'PRI * HTTP/2.0',
        b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    ],
)
def test_request_lines(server, line):
    one_refusal(exchange(server, line + b'\r\nHost: x\r\n\r\n' + SMUGGLED), 400, 505)


def test_no_host(server):
    one_refusal(exchange(server, b'GET / HTTP/1.1\r\n\r\n'), 400)
    assert exchange(server, b'GET /healthcheck HTTP/1.0\r\n\r\n').startswith(b'HTTP/1.1 200')


@pytest.mark.parametrize(
    'host', [b'x/y', b'x?y', b'x#y', b'x y', b'x\\y'], ids=lambda host: repr(host)
)
def test_a_host_that_is_none(server, host):
    answer = exchange(server, b'GET / HTTP/1.1\r\nHost: ' + host + b'\r\n\r\n')
    one_refusal(answer, 400)


def test_an_absolute_target_is_as_good_as_a_path(server):
    """And its host is the one that counts."""
    head = b'GET http://there:80%s HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n'
    answer = exchange(server, head % b'/healthcheck?x=1')
    assert answer.startswith(b'HTTP/1.1 200'), answer
    answer = exchange(server, head % b'')
    assert answer.startswith(b'HTTP/1.1 300'), answer
    assert b'http://there' in answer and b'here:' not in answer.replace(b'there:', b'')


@pytest.mark.parametrize(
    'method', [b'OPTIONS *', b'CONNECT x:80', b'TRACE /v2/images', b'BREW /v2/images']
)
def test_other_methods(server, method):
    head = method + b' HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    assert 400 <= int(exchange(server, head).split()[1]) < 500


def test_bytes_beyond_ascii_in_the_target(server):
    """Some of UTF-8 are blanks of Latin-1."""
    alpha = Caller(server.url, 'alpha')
    name = 'à la carte …'.replace(' ', '')
    alpha.create(name=name)
    with Wire(server.url) as wire:
        head = wire.head('GET', '/v2/images?name=NAME').replace(b'NAME', name.encode())
        wire.send(head)
        status, body = wire.answer()
    assert status == 200 and [one['name'] for one in json.loads(body)['images']] == [name]


# --- chunks


@pytest.mark.parametrize(
    'body',
    {
        'negative': b'-5\r\nabcde\r\n0\r\n\r\n',
        'a sign': b'+5\r\nabcde\r\n0\r\n\r\n',
        'a prefix': b'0x5\r\nabcde\r\n0\r\n\r\n',
        'an underscore': b'0_5\r\nabcde\r\n0\r\n\r\n',
        'a blank before': b' 5\r\nabcde\r\n0\r\n\r\n',
        'no size': b'\r\nabcde\r\n0\r\n\r\n',
        'no number': b'five\r\nabcde\r\n0\r\n\r\n',
        'a bare LF': b'5\nabcde\r\n0\r\n\r\n',
        'a huge size': b'f' * 16 + b'\r\nabcde',
        'a long size': b'0' * 4000 + b'5\r\nabcde\r\n0\r\n\r\n',
        'a huge extension': b'5;' + b'x' * 100_000 + b'\r\nabcde\r\n0\r\n\r\n',
        'NUL in an extension': b'5;a\0b\r\nabcde\r\n0\r\n\r\n',
        'too long': b'5\r\nabcdefg\r\n0\r\n\r\n',
        'no end': b'5\r\nabcde0\r\n\r\n',
        'huge trailers': b'5\r\nabcde\r\n0\r\n' + b'X-A: b\r\n' * 10_000 + b'\r\n',
        'a trailer that is none': b'5\r\nabcde\r\n0\r\nGET / HTTP/1.1\r\n\r\n',
    }.values(),
)
def test_chunks_that_are_none(server, body):
    """The upload fails, nothing of it stays, and what follows is no request."""
    alpha = Caller(server.url, 'alpha')
    image_id = alpha.create()
    with Wire(server.url) as wire:
        path = f'/v2/images/{image_id}/file'
        wire.send(wire.head('PUT', path, Content_Type=OCTETS, Transfer_Encoding='chunked'))
        wire.send(body + SMUGGLED)
        answer = b''
        while piece := wire.socket.recv(1 << 16):
            answer += piece
    one_refusal(answer, 400)
    until(lambda: alpha.show(image_id)['status'] == 'queued', 'the upload is given up')
    assert not [path for path in server.files() if image_id in path.name]


def test_chunks_that_are_well(server):
    alpha = Caller(server.url, 'alpha')
    image_id = alpha.create()
    with Wire(server.url) as wire:
        path = f'/v2/images/{image_id}/file'
        wire.send(wire.head('PUT', path, Content_Type=OCTETS, Transfer_Encoding='cHunkEd'))
        wire.send(b'5;name="va;lue"\r\nabcde\r\n00000B \r\nfghijklmnop\r\n')
        wire.send(b'0;last\r\nX-Checksum: 1\r\n\r\n' + wire.head('GET', path))
        assert wire.answer('PUT')[0] == 204
        assert wire.answer() == (200, b'abcdefghijklmnop')


def test_a_million_chunks_hold_up_nobody(server):
    """All others waited while one worker took them apart."""
    alpha = Caller(server.url, 'alpha')
    image_id, data = alpha.create(), noise(MIB)
    body = b''.join(b'1\r\n%c\r\n' % byte for byte in data)
    slowest = 0.0
    with Wire(server.url) as wire, Wire(server.url) as other:
        path = f'/v2/images/{image_id}/file'
        wire.send(wire.head('PUT', path, Content_Type=OCTETS, Transfer_Encoding='chunked'))
        for start in range(0, len(body), MIB):
            wire.send(body[start : start + MIB])
            begun = time.monotonic()
            assert other.ask('GET', '/healthcheck')[0] == 200
            slowest = max(slowest, time.monotonic() - begun)
        wire.send(b'0\r\n\r\n')
        assert wire.answer('PUT')[0] == 204
    alpha.check(image_id, data)
    assert slowest < 5


def test_a_hundred_requests_at_once(server):
    """They are answered one after the other, in order."""
    with Wire(server.url) as wire:
        paths = ['/v2/schemas/image', '/v2/nothing'] * 50
        sent = [wire.head('GET', path) for path in paths]
    last = wire.head('GET', '/healthcheck', Connection='close')
    answer = exchange(server, b''.join([*sent, last]))
    statuses = [int(status) for status in re.findall(rb'HTTP/1\.1 ([0-9]+)', answer)]
    assert statuses == [200, 404] * 50 + [200]


# --- time and room


def test_a_client_that_takes_its_time_with_the_header(tmp_path):
    """A byte now and then kept a connection for as long as its client liked."""
    made = processes.settings(tmp_path, default='client_socket_timeout = 3\nworkers = 1')
    made.edit('workers = 2\n', '')
    with processes.api(made) as server:
        Caller(server.url, 'alpha').names()
        for sent in (b'GET /v2/ima', b'GET /v2/images HTTP/1.1\r\nHost: x\r\nX-A'):
            with Wire(server.url) as slow, Wire(server.url) as other:
                slow.send(sent)
                begun = time.monotonic()
                slow.socket.settimeout(0.5)
                answer: bytes | None = None
                while answer is None:
                    assert time.monotonic() - begun < 20
                    try:
                        slow.send(b'x')
                        answer = slow.socket.recv(1000)
                    except TimeoutError:
                        assert other.ask('GET', '/v2/schemas/image')[0] == 200
                    except ConnectionError:
                        answer = b''
                assert not answer or b' 400 ' in answer
                assert time.monotonic() - begun > 2


def test_idle_connections_make_room(tmp_path):
    """A thousand that asked nothing kept everybody else out."""
    made = processes.settings(tmp_path, default='workers = 1')
    made.edit('workers = 2\n', '')
    with processes.api(made) as server:
        idle = [socket.create_connection(Wire(server.url).socket.getpeername())]
        try:
            while len(idle) < 1100:
                idle.append(socket.create_connection(idle[0].getpeername()))
            with Wire(server.url) as wire:
                wire.socket.settimeout(30)
                assert wire.ask('GET', '/v2/schemas/image')[0] == 200
            assert idle[0].recv(1) == b''  # the oldest
        finally:
            for one in idle:
                one.close()
