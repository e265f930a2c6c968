# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: another generation of glance-lite-api takes over, and nobody notices."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest
import requests

from tests.peers.glance33 import free_port
from tests.servers import processes
from tests.servers.processes import until
from tests.servers.test_servers import MIB, Caller, noise
from tests.servers.wire import Wire


@pytest.fixture
def server(tmp_path) -> Iterator[processes.Server]:
    made = processes.settings(tmp_path, default='debug = false')
    with processes.api(made) as running:
        yield running


def reload(server: processes.Server) -> None:
    """Send SIGHUP, and wait until the generation after it serves."""
    before, count = set(server.workers()), len(server.lines('Serving on'))
    server.process.send_signal(signal.SIGHUP)
    until(
        lambda: len(server.lines('Serving on')) > count,
        f'another generation in\n{server.text()[-3000:]}',
    )
    assert set(server.workers()) - before


def test_nobody_is_refused_or_cut_off_by_five_reloads(server):
    """Clients that come all the time, anew and over one connection, and two large transfers."""
    alpha = Caller(server.url, 'alpha')
    data = noise(48 * MIB)
    large = alpha.create(name='large')
    alpha.upload(large, data)
    other = alpha.create(name='other')
    over = threading.Event()
    failures: list[str] = []
    counts = [0, 0, 0, 0]

    def client(number: int) -> None:
        wire = Wire(server.url)
        while not over.is_set():
            try:
                if number % 2:
                    wire.close()
                    wire.open()
                status, _ = wire.ask('GET', f'/v2/images/{large}')
                assert status == 200, status
                counts[number] += 1
            except Exception as ex:
                failures.append(repr(ex))
                wire.closed = True
        wire.close()

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for one in clients:
        one.start()
    try:
        with Wire(server.url) as up, Wire(server.url) as down:
            down.send(down.head('GET', f'/v2/images/{large}/file'))
            assert down.socket.recv(12) == b'HTTP/1.1 200'
            path = f'/v2/images/{other}/file'
            octets = {'Content_Type': 'application/octet-stream'}
            up.send(up.head('PUT', path, Content_Length=len(data), **octets))
            for number in range(5):
                up.send(data[number * 8 * MIB : (number + 1) * 8 * MIB])
                reload(server)
            up.send(data[40 * MIB :])
            assert up.answer('PUT')[0] == 204
            received = bytearray()
            while len(received) < len(data):
                piece = down.socket.recv(MIB)
                assert piece, 'the download was cut off'
                received += piece
            while piece := down.socket.recv(MIB):
                received += piece
            assert bytes(received).endswith(data)
    finally:
        over.set()
        for one in clients:
            one.join()
    assert failures == []
    assert min(counts) > 20, counts
    alpha.check(other, data)
    # Those of generations before have ended when what they did had ended.
    until(lambda: len(server.workers()) == 2, 'two workers')


def test_every_option_is_taken(server):
    alpha = Caller(server.url, 'alpha')
    data = noise(1000)
    image_id = alpha.create()
    alpha.upload(image_id, data)
    master = server.pid
    server.settings.edit('workers = 2', 'workers = 3\nshow_multiple_locations = true')
    server.settings.edit('cheap:file', 'cheap:file,third:file')
    server.settings.edit(
        '[glance_store]',
        f'[third]\nfilesystem_store_datadir = {server.settings.directory}/third\n[glance_store]',
    )
    server.settings.edit('default_backend = fast', 'default_backend = third')
    server.settings.edit('[paste_deploy]', '[controller]\nlayers = {}\n[paste_deploy]'.format(
        'auth,property_protection,policy,quota,location,db'))  # fmt: skip
    (server.settings.file.parent / 'policy.yaml').write_text('get_images: "!"\n')
    reload(server)
    until(lambda: len(server.workers()) == 3, 'three workers')
    assert server.process.poll() is None and server.pid == master
    alpha('GET', '/images', 403)
    stores = {one['id'] for one in alpha('GET', '/info/stores', 200).json()['stores']}
    assert stores == {'fast', 'cheap', 'third'}
    assert 'locations' in alpha.show(image_id)
    another = alpha.create()
    alpha.upload(another, data)
    assert (server.settings.directory / 'third' / another).read_bytes() == data
    assert alpha.download(image_id) == data


@pytest.mark.parametrize(
    'old, new, part',
    [
        ('debug = false', 'debug = false\nthis is no option', 'cannot be parsed'),
        ('cheap:file', 'cheap:tape', '[DEFAULT] enabled_backends'),
        ('/cheap', '/etc/glance-api.conf/cheap', '[cheap] filesystem_store_datadir'),
    ],
    ids=['file', 'service', 'store'],
)
def test_a_bad_configuration_changes_nothing(server, old, new, part):
    before = server.workers()
    text = server.settings.file.read_text()
    server.settings.edit(old, new)
    server.process.send_signal(signal.SIGHUP)
    line = server.wait_for_line('The configuration stays as it was')
    assert f'{server.settings.file}: ' in line or str(server.settings.file) in line
    assert part in line
    assert len(server.lines(' ERROR ')) == 1
    assert server.workers() == before
    # A worker that dies is replaced as if nobody had touched the file.
    os.kill(before[0], signal.SIGKILL)
    server.wait_for_line(f'Worker {before[0]} has died')
    until(lambda: len(server.workers()) == 2, 'two workers')
    assert [Caller(server.url, 'alpha').names() for _ in range(5)] == [[]] * 5
    server.settings.file.write_text(text)
    reload(server)
    assert Caller(server.url, 'alpha').names() == []


def test_another_address_takes_a_restart(server):
    port = free_port()
    conf = server.settings.directory / 'port.conf'
    conf.write_text(f'[DEFAULT]\nbind_port = {port}\n')
    reload(server)
    line = server.wait_for_line('WARNING.*bind_port')
    assert f':{port}' in line and str(conf) in line and 'restart' in line
    assert requests.get(server.url, timeout=30).status_code == 300
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.1', port))


def test_what_a_master_hands_on_is_all_there_is(server):
    """Nothing gathers over generations: descriptors, and the environment of workers."""
    reload(server)
    counts = []
    for _ in range(3):
        reload(server)
        until(lambda: len(server.workers()) == 2, 'those before have ended')
        counts.append(len(os.listdir(f'/proc/{server.pid}/fd')))
    assert counts[0] == counts[-1], counts
    assert os.listdir(f'/proc/{server.pid}/task') == [str(server.pid)]
