# SPDX-License-Identifier: Apache-2.0
"""The whole service on a real Ceph: what clones need, and a cluster that does not answer."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
import requests

from tests.backends import ceph
from tests.servers import processes
from tests.servers.processes import until
from tests.servers.test_servers import MIB, Caller, noise

pytestmark = pytest.mark.peer

#: seconds for which the driver waits for the cluster
PATIENCE = 8

STORES = """
enabled_backends = fast:file,ceph:rbd
[glance_store]
default_backend = ceph
[fast]
filesystem_store_datadir = {{directory}}/fast
[ceph]
rbd_store_ceph_conf = {client.conf}
rbd_store_user = {client.user}
rbd_store_pool = {pool}
rbd_store_chunk_size = 1
rados_connect_timeout = {patience}
"""

MORE = """
[maintenance]
heartbeat_interval = 1
operation_expiry = 3
sweep_interval = 1
"""


@pytest.fixture(scope='module')
def own():
    with ceph.Alone() as own:
        yield own


@pytest.fixture
def pool(own):
    with own.cluster.pool() as pool:
        yield pool


@pytest.fixture
def made(own, pool, tmp_path):
    client = own.cluster.client(tmp_path / 'ceph', pool)
    stores = STORES.format(client=client, pool=pool, patience=PATIENCE)
    made = processes.settings(tmp_path, stores=stores, more=MORE)
    made.edit('workers = 2', 'workers = 1')
    return made


@contextlib.contextmanager
def opened(own, pool, version=1):
    """The pool, for somebody whose clones are of a `version`."""
    with own.cluster.connected() as connection:
        connection.conf_set('rbd_default_clone_format', str(version))
        with connection.open_ioctx(pool) as found:
            yield found


def devices(own, pool):
    """Names of devices, and those in the trash."""
    import rbd

    with opened(own, pool) as found:
        return rbd.RBD().list(found), [entry['name'] for entry in rbd.RBD().trash_list(found)]


def test_an_image_that_somebody_has_cloned_stays(own, pool, made):
    """As clones are where nobody has asked for others: they need the snapshot as it is."""
    import rbd

    data = noise(3 * MIB + 7)
    with processes.api(made) as server:
        alpha = Caller(server.url, 'alpha')
        image_id, streamed = alpha.create(), alpha.create()
        alpha.upload(image_id, data)
        alpha.check(image_id, data)
        alpha.upload(streamed, iter([data[:10], data[10 : 2 * MIB], data[2 * MIB :]]))
        alpha.check(streamed, data)
        part = alpha('GET', f'/images/{image_id}/file', 206, headers={'Range': 'bytes=5-1048580'})
        assert part.content == data[5:1048581]
        with opened(own, pool) as found:
            rbd.RBD().clone(found, image_id, 'snap', found, 'clone')
            with rbd.Image(found, 'clone') as clone:
                assert clone.read(0, len(data)) == data
            for _ in range(2):
                answer = alpha('DELETE', f'/images/{image_id}', 409)
                assert 'in use' in answer.text
                alpha.check(image_id, data)
            rbd.RBD().remove(found, 'clone')
        for one in (image_id, streamed):
            alpha('DELETE', f'/images/{one}', 204)
            alpha('GET', f'/images/{one}', 404)
        assert devices(own, pool) == ([], [])
        assert 'Traceback' not in server.text()


def test_what_a_clone_of_the_newer_kind_needs_goes_when_it_does(own, pool, made):
    """The image is gone at once. Its data wait for whoever looks next, a restart later too."""
    import rbd

    with processes.api(made) as server:
        alpha = Caller(server.url, 'alpha')
        image_id = alpha.create()
        alpha.upload(image_id, b'data')
        with opened(own, pool, version=2) as found:
            rbd.RBD().clone(found, image_id, 'snap', found, 'clone')
        alpha('DELETE', f'/images/{image_id}', 204)
        alpha('GET', f'/images/{image_id}', 404)
        assert devices(own, pool) == (['clone'], [image_id])
        assert server.lines(f'{image_id} is removed later')
    with processes.api(made) as server:
        # Who has ended has left its work, which is taken up at once, and is not done yet.
        server.wait_for_line(f'{image_id} is removed later')
        with opened(own, pool) as found:
            with rbd.Image(found, 'clone') as clone:
                assert clone.read(0, 4) == b'data'
            rbd.RBD().remove(found, 'clone')
        assert devices(own, pool) == ([], [image_id])
    with processes.api(made):
        until(lambda: devices(own, pool) == ([], []), 'nothing is left in the trash')


def test_a_cluster_that_hangs_holds_up_nobody(own, pool, made):
    """Not the hub, nor those who want another store. Who was in the middle is told."""
    data = noise(6 * MIB)
    with processes.api(made) as server:
        alpha = Caller(server.url, 'alpha')
        there, here, new = alpha.create(), alpha.create(), alpha.create()
        alpha.upload(there, data)
        alpha('PUT', f'/images/{here}/file', 204, data=data, headers=octets('fast'))
        reached, go_on = threading.Event(), threading.Event()
        answers: dict[str, int] = {}

        def body():
            yield data[: 2 * MIB]
            reached.set()
            go_on.wait(60)
            yield data[2 * MIB :]

        def upload():
            answers['upload'] = ask(server, 'PUT', new, data=body(), headers=octets())

        def download():
            answers['download'] = ask(server, 'GET', there)

        uploading = threading.Thread(target=upload)
        uploading.start()
        assert reached.wait(60)
        until(lambda: alpha.show(new)['status'] == 'saving', 'it uploads')
        own.freeze('osd')
        try:
            go_on.set()
            downloading = threading.Thread(target=download)
            downloading.start()
            slowest = 0.0
            while uploading.is_alive() or downloading.is_alive():
                began = time.monotonic()
                alpha.show(here)
                alpha.check(here, data)
                slowest = max(slowest, time.monotonic() - began)
            assert slowest < PATIENCE / 2
            assert answers == {'upload': 503, 'download': 503}
        finally:
            own.thaw('osd')
        until(lambda: alpha.show(new)['status'] == 'queued', 'it can be uploaded again')
        alpha.check(there, data)
        alpha.upload(new, data)
        alpha.check(new, data)
        for one in (there, here, new):
            alpha('DELETE', f'/images/{one}', 204)
        until(lambda: devices(own, pool) == ([], []), 'nothing is left')


def octets(store='ceph'):
    return {'Content-Type': 'application/octet-stream', 'X-Image-Meta-Store': store}


def ask(server, method, image_id, headers=None, **kwargs) -> int:
    """The status of the answer, for somebody who waits long."""
    url = f'{server.url}/v2/images/{image_id}/file'
    headers = {**processes.identity('alpha'), **(headers or {})}
    return requests.request(method, url, headers=headers, timeout=120, **kwargs).status_code
