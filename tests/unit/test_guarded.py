# SPDX-License-Identifier: Apache-2.0
"""Where urls of users may lead, with a real nginx behind those that may."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import ipaddress
import logging
import socket
import ssl
import threading

import pytest

from glance_lite import conf as configuration
from glance_lite import guarded
from glance_lite.errors import ConfigurationError, FetchFailed, UrlRefused
from glance_lite.guarded import Guard, Limits, Rules
from tests.backends import web as servers

LOOPBACK = (ipaddress.ip_network('127.0.0.0/8'),)

SAME_ANSWER = 'The host of the url has no address that may be reached from here'


@pytest.fixture(scope='module')
def web(tmp_path_factory):
    with servers.running(tmp_path_factory.mktemp('web')) as web:
        web.put('data', b'0123456789')
        yield web


@pytest.fixture
def guard(web):
    rules = Rules(allowed_ports=frozenset(web.ports), allowed_networks=LOOPBACK)
    return Guard(rules, Limits(connect=5, read=20))


@pytest.fixture
def names(monkeypatch):
    """Names of this test: name -> answers of the resolver, one after another."""
    known = {}
    real = guarded.resolve

    def resolve(host, port):
        if host not in known:
            return real(host, port)
        answers = known[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    monkeypatch.setattr(guarded, 'resolve', resolve)
    return known


def body(answer):
    with contextlib.closing(answer):
        return b''.join(answer.chunks(4))


# --- what a url says


@pytest.mark.parametrize(
    'url',
    [
        '', 'data', '/etc/passwd', 'file:///etc/passwd', 'ftp://images.example/', 'gopher://x/',
        'http://', 'http:///x', 'http://:80/', 'http://x:0/', 'http://x:99999/', 'http://x:a/',
        'http://[::1', 'http://a b/', 'http://a\nb/', 'http://a\tb/', 'http://127.0.0.1\\@x/',
        'http://x/\x00', 'http://x/\x7f', 'http://' + 'a' * 300 + '/', 'http://x/' + 'a' * 5000,
        'http://..', 'http://a..b/', 'http://-a/', 'http://[fe80::1%25eth0]/', 'http://[v1.a]/',
        'http://2130706433/', 'http://0x7f000001/', 'http://0x7f.0.0.1/', 'http://0177.0.0.1/',
        'http://127.1/', 'http://127.0.0.1.2/', 'http://1.2.3.256/', 'http://x.0x1/',
        'http://①②⑦.⓪.⓪.①/', 'http://bücher.example/', 'http://ⓛocalhost/',
    ],
)  # fmt: skip
def test_urls_that_are_none(url):
    with pytest.raises(UrlRefused):
        Guard().check(url)


@pytest.mark.parametrize(
    'address',
    [
        '127.0.0.1', '127.8.9.1', '0.0.0.0', '10.0.0.1', '172.16.0.1', '192.168.1.1',
        '169.254.169.254', '100.64.0.1', '224.0.0.1', '255.255.255.255', '240.0.0.1', '192.0.2.1',
        '198.18.0.1', '::1', '::', 'fe80::1', 'fc00::1', 'fd00::1', 'ff02::1', '2001:db8::1',
        '::ffff:127.0.0.1', '::ffff:10.0.0.1', '::127.0.0.1', '64:ff9b::127.0.0.1',
        '64:ff9b::a9fe:a9fe', '2002:7f00:1::', '2002:a00:1::1', '2001:0:7f00:1::',
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(names, address):
    host = f'[{address}]' if ':' in address else address
    with pytest.raises(UrlRefused):
        Guard().check(f'http://{host}/')
    names['images.example'] = [[address]]
    with pytest.raises(UrlRefused, match=SAME_ANSWER):
        Guard().check('http://images.example/')


@pytest.mark.parametrize('address', ['8.8.8.8', '2606:4700::1111', '::ffff:8.8.8.8'])
def test_public_addresses(names, address):
    names['images.example'] = [[address]]
    Guard().check('http://images.example/')


def test_only_the_public_ones_of_several_addresses_are_used(names):
    names['images.example'] = [['127.0.0.1', '8.8.8.8', '::1']]
    assert Guard()._addresses(guarded.split('http://images.example/')) == ['8.8.8.8']


def test_a_name_that_does_not_exist_is_refused_like_a_private_one():
    with pytest.raises(UrlRefused, match=SAME_ANSWER):
        Guard().check('http://there-is-no-such-host.invalid/')


def test_ports_and_schemes():
    for url in ('http://8.8.8.8:22/', 'https://8.8.8.8:8443/'):
        with pytest.raises(UrlRefused, match='port'):
            Guard().check(url)
    only = Guard(Rules(allowed_schemes=frozenset({'https'})))
    only.check('https://8.8.8.8/')
    with pytest.raises(UrlRefused, match='scheme'):
        only.check('http://8.8.8.8/')
    some = Rules(allowed_ports=frozenset(), disallowed_ports=frozenset({22}))
    Guard(some).check('http://8.8.8.8:8080/')
    with pytest.raises(UrlRefused, match='port'):
        Guard(some).check('http://8.8.8.8:22/')


def test_the_port_that_is_meant_counts():
    guard = Guard(Rules(allowed_ports=frozenset({8080})))
    guard.check('http://8.8.8.8:8080/')
    for url in ('http://8.8.8.8/', 'https://8.8.8.8/'):
        with pytest.raises(UrlRefused, match='port'):
            guard.check(url)


def test_hosts_that_are_allowed_may_have_any_address(names):
    names['mirror.internal'] = [['10.1.2.3']]
    guard = Guard(Rules(allowed_hosts=frozenset({'mirror.internal'})))
    guard.check('http://MIRROR.internal./')
    with pytest.raises(UrlRefused, match='host'):
        guard.check('http://8.8.8.8/')


def test_hosts_that_are_not_allowed_are_not_by_another_name(names):
    names['other.example'] = [['8.8.8.8']]
    guard = Guard(Rules(disallowed_hosts=frozenset({'bad.example', '8.8.8.8'})))
    for host in ('bad.example', '8.8.8.8', 'other.example', '[::ffff:8.8.8.8]'):
        with pytest.raises(UrlRefused):
            guard.check(f'http://{host}/')


def test_configuration(tmp_path):
    file = tmp_path / 'glance-api.conf'

    def configured(text):
        file.write_text(text)
        return Guard.configured(
            configuration.parse(configuration.new(), ['--config-file', str(file)])
        )

    assert configured('').rules == Rules()
    made = configured(
        '[fetching]\nallowed_networks = 10.0.0.0/8, fd00::/8\nmax_redirects = 0\n'
        '[import_filtering_opts]\nallowed_hosts = [A.example, 10.0.0.1]\nallowed_ports = [8080]\n'
        'disallowed_schemes = [http]\n'
    )
    assert made.rules.allowed_hosts == {'a.example', '10.0.0.1'}
    assert made.rules.allowed_ports == {8080}
    assert made.rules.disallowed_schemes == {'http'}
    assert list(map(str, made.rules.allowed_networks)) == ['10.0.0.0/8', 'fd00::/8']
    assert made.limits.redirects == 0
    with pytest.raises(ConfigurationError, match='allowed_networks'):
        configured('[fetching]\nallowed_networks = internal\n')
    # Glance wants brackets; without them it would refuse everything.
    made = configured(
        '[import_filtering_opts]\nallowed_ports = 80, 8443\nallowed_hosts = A.example,10.0.0.1\n'
        'disallowed_hosts =\n'
    )
    assert made.rules.allowed_ports == {80, 8443}
    assert made.rules.allowed_hosts == {'a.example', '10.0.0.1'}
    assert made.rules.disallowed_hosts == set()
    for wrong in ('80,many', '[80', '70000'):
        with pytest.raises(ConfigurationError, match='allowed_ports'):
            configured(f'[import_filtering_opts]\nallowed_ports = {wrong}\n')


@pytest.mark.parametrize(
    ('url', 'shown'),
    [
        ('http://x/a/b', 'http://x/a/b'),
        ('https://user:secret@x:8443/a?sig=secret', 'https://***@x:8443/a?***'),
        ('http://user@x', 'http://***@x'),
        ('http://a:b@c:secret@x/', 'http://***@x/'),
    ],
)
def test_secrets_are_left_out(url, shown):
    assert guarded.redact(url) == shown


# --- with a server


@pytest.mark.peer
def test_it_reads(guard, web):
    answer = guard.open('GET', web.http + '/data')
    assert (answer.status, answer.length) == (200, 10)
    assert body(answer) == b'0123456789'
    answer = guard.open('GET', web.http + '/data', {'Range': 'bytes=2-4'})
    assert (answer.status, body(answer)) == (206, b'234')
    assert body(guard.open('HEAD', web.http + '/data')) == b''


@pytest.mark.peer
def test_redirects_are_followed_and_checked(guard, web):
    assert body(guard.open('GET', web.http + '/moved/data')) == b'0123456789'
    with pytest.raises(UrlRefused, match='redirects'):
        guard.open('GET', web.http + '/loop')
    for target in (
        'http://[::1]/', 'http://169.254.169.254/latest', 'http://10.0.0.1/', 'file:///etc/passwd',
        'http://0x7f000001/', '//10.0.0.1/', 'gopher://127.0.0.1/', f'http://127.0.0.1:{1}/',
        'http://[', 'http://localhost:22/',
    ):  # fmt: skip
        with pytest.raises(UrlRefused):
            guard.open('GET', f'{web.http}/to/?url={target}')


@pytest.mark.peer
def test_a_public_server_cannot_lead_inside(web, names):
    """A redirect to the loopback address, from a host that is allowed whatever its address."""
    names['images.example'] = [['127.0.0.1']]
    rules = Rules(allowed_hosts=frozenset({'images.example'}), allowed_ports=frozenset(web.ports))
    url = f'http://images.example:{web.ports[0]}'
    assert body(Guard(rules).open('GET', url + '/data')) == b'0123456789'
    before = web.requests().count('GET /data')
    with pytest.raises(UrlRefused):
        Guard(rules).open('GET', f'{url}/to/?url=http://127.0.0.1:{web.ports[0]}/data')
    assert web.requests().count('GET /data') == before


@pytest.mark.peer
def test_a_name_that_changes_between_check_and_connection(web, names):
    """The connection goes to the address that was checked; nobody resolves a second time."""
    names['images.example'] = [['127.0.0.1'], ['10.66.66.66']]
    rules = Rules(allowed_ports=frozenset(web.ports), allowed_networks=LOOPBACK)
    url = f'http://images.example:{web.ports[0]}/data'
    assert body(Guard(rules).open('GET', url)) == b'0123456789'
    # The second time it says something else, and is refused.
    with pytest.raises(UrlRefused):
        Guard(rules).open('GET', url)


@pytest.mark.peer
def test_a_name_is_resolved_by_nobody_else(web, names, monkeypatch):
    names['images.example'] = [['127.0.0.1']]
    asked = []
    real = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        asked.append(host)
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, 'getaddrinfo', getaddrinfo)
    rules = Rules(allowed_ports=frozenset(web.ports), allowed_networks=LOOPBACK)
    answer = Guard(rules).open('GET', f'http://images.example:{web.ports[0]}/data')
    assert body(answer) == b'0123456789'
    assert set(asked) <= {'127.0.0.1'}


@pytest.mark.peer
def test_tls_is_verified_by_the_name_of_the_url(guard, web, names):
    names['images.example'] = names['impostor.example'] = [['127.0.0.1']]
    port = web.ports[1]
    ours = ssl.create_default_context(cafile=str(web.authority))
    answer = guard.open('GET', f'https://images.example:{port}/data', tls=ours)
    assert body(answer) == b'0123456789'
    with pytest.raises(FetchFailed):
        guard.open('GET', f'https://impostor.example:{port}/data', tls=ours)
    with pytest.raises(FetchFailed):
        guard.open('GET', f'https://127.0.0.1:{port}/data', tls=ours)
    with pytest.raises(FetchFailed):
        guard.open('GET', f'https://images.example:{port}/data')  # an authority nobody knows
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    answer = guard.open('GET', f'https://impostor.example:{port}/data', tls=blind)
    assert body(answer) == b'0123456789'


@pytest.mark.peer
def test_no_way_from_https_to_http(guard, web, names):
    names['images.example'] = [['127.0.0.1']]
    ours = ssl.create_default_context(cafile=str(web.authority))
    url = f'https://images.example:{web.ports[1]}/to/?url={web.http}/data'
    with pytest.raises(UrlRefused, match='without encryption'):
        guard.open('GET', url, tls=ours)


@pytest.mark.peer
def test_credentials_go_to_their_own_server_only(guard, web):
    secret = web.http.replace('//', '//user:secret@')
    assert body(guard.open('GET', secret + '/secret/data')) == b'0123456789'
    assert guard.open('GET', web.http + '/secret/data').status == 401
    # localhost is another host, although the address is the same.
    elsewhere = f'http://localhost:{web.ports[0]}/secret/data'
    assert guard.open('GET', f'{secret}/to/?url={elsewhere}').status == 401


def _serve(*answers):
    """A server that says what no decent one would; its port."""
    listener = socket.create_server(('127.0.0.1', 0))

    def run():
        for answer in answers:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)
        listener.close()

    threading.Thread(target=run, daemon=True).start()
    return listener.getsockname()[1]


@pytest.mark.parametrize(
    'answer',
    [
        b'',
        b'nonsense\r\n\r\n',
        b'HTTP/1.1 200 OK\r\nX: ' + b'a' * 70000 + b'\r\n\r\n',
        b'HTTP/1.1 200 OK\r\n' + b''.join(b'X%d: a\r\n' % n for n in range(200)) + b'\r\n',
        b'HTTP/1.1 200 OK\r\n' + b''.join(b'X%d: %s\r\n' % (n, b'a' * 1000) for n in range(90))
        + b'\r\n',
    ],
)  # fmt: skip
def test_answers_that_are_none(answer, monkeypatch):
    # As a library does that another store needs: whatever ran before, there is a limit.
    monkeypatch.setattr(http.client, '_MAXHEADERS', 256)
    port = _serve(answer)
    rules = Rules(allowed_ports=frozenset({port}), allowed_networks=LOOPBACK)
    with pytest.raises(FetchFailed):
        Guard(rules, Limits(5, 5)).open('GET', f'http://127.0.0.1:{port}/')


def test_a_body_that_ends_early_is_not_whole():
    port = _serve(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort')
    rules = Rules(allowed_ports=frozenset({port}), allowed_networks=LOOPBACK)
    answer = Guard(rules, Limits(5, 5)).open('GET', f'http://127.0.0.1:{port}/')
    with pytest.raises(FetchFailed, match='broke off'):
        body(answer)


def test_a_server_that_says_nothing_is_given_up():
    listener = socket.create_server(('127.0.0.1', 0))
    port = listener.getsockname()[1]
    rules = Rules(allowed_ports=frozenset({port}), allowed_networks=LOOPBACK)
    with contextlib.closing(listener), pytest.raises(FetchFailed):
        Guard(rules, Limits(1, 1)).open('GET', f'http://127.0.0.1:{port}/')


@pytest.mark.peer
def test_nothing_secret_is_logged(guard, web, caplog):
    caplog.set_level(logging.DEBUG)
    secret = web.http.replace('//', '//user:secret@')
    answers = [secret + '/secret/data?signature=hidden', secret.replace('127.0.0.1', '10.0.0.1')]
    for url in answers:
        with contextlib.suppress(UrlRefused):
            guard.open('GET', url).close()
    ours = [record for record in caplog.records if record.name.startswith('glance_lite')]
    told = ' '.join(record.getMessage() for record in ours)
    assert 'secret' not in told.replace('/secret/', '') and 'hidden' not in told


def test_targets_hide_their_credentials():
    target = guarded.split('http://user:pass%40word@x/')
    assert 'pass' not in repr(target)
    assert target.credentials == 'user:pass@word'
    assert dataclasses.replace(target, credentials=None).origin == target.origin
