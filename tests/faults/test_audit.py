# SPDX-License-Identifier: Apache-2.0
"""Faults seeded into a directory, Swift, Ceph and S3: each is found, and nothing whole is touched.

Each backend is damaged through its own tools, past the service.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import pathlib
import random
import time
import uuid
from typing import Any

import pytest
import sqlalchemy as sa

from glance_lite.audit.auditor import Auditor, Plan
from glance_lite.context import service_context
from glance_lite.copies import Copying
from glance_lite.db import admin, tables
from glance_lite.layer import link
from glance_lite.model import Changes, Wanted
from glance_lite.service import load_layers
from glance_lite.testing.faults import Source
from glance_lite.testing.layers import caller, make_parts, make_upload
from tests.backends import ceph, radosgw, swift
from tests.sizes import full

pytestmark = pytest.mark.peer

STORES = ('file', 'swift', 'rbd', 's3')
KINDS = ('damaged', 'missing', 'truncated', 'wrong size', 'no data', 'orphan')
SEED = 20240711
FAULTS = full(24, 100)
#: whole images in each store
WHOLE = full(3, 10)

CONFIGURATION = """
[DEFAULT]
enabled_backends = {stores}
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = {directory}/file
[swift]
swift_store_auth_address = {swift.auth_url}
swift_store_auth_version = 1
swift_store_user = {user}
swift_store_key = {key}
swift_store_container = {name}
swift_store_create_container_on_put = true
[rbd]
rbd_store_ceph_conf = {client.conf}
rbd_store_user = {client.user}
rbd_store_pool = {pool}
rbd_store_chunk_size = 1
rados_connect_timeout = 30
[s3]
s3_store_host = {s3.http}
s3_store_access_key = {keys.access}
s3_store_secret_key = {keys.secret}
s3_store_bucket = {name}
s3_store_create_bucket_on_put = true
[database]
connection = sqlite:///{directory}/glance.sqlite
[controller]
layers = location, db
"""


# --- past the service


class File:
    """Files of a directory."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory

    def write(self, name: str, data: bytes) -> None:
        (self._directory / name).write_bytes(data)

    def remove(self, name: str) -> None:
        (self._directory / name).unlink()

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self._directory.iterdir()}


class Swift:
    """Objects of a container."""

    def __init__(self, server: swift.Swift, user: str, key: str, container: str) -> None:
        from swiftclient.client import Connection

        self._connection = Connection(server.auth_url, user, key, auth_version='1')
        self._container = container

    def write(self, name: str, data: bytes) -> None:
        self._connection.put_object(self._container, name, data)

    def remove(self, name: str) -> None:
        self._connection.delete_object(self._container, name)

    def contents(self) -> dict[str, bytes]:
        _, found = self._connection.get_container(self._container, full_listing=True)
        names = [entry['name'] for entry in found]
        return {name: self._connection.get_object(self._container, name)[1] for name in names}


class S3:
    """Objects of a bucket."""

    def __init__(self, url: str, keys: radosgw.User, bucket: str) -> None:
        import boto3

        self._client = boto3.client(
            's3',
            endpoint_url=url,
            aws_access_key_id=keys.access,
            aws_secret_access_key=keys.secret,
            region_name='us-east-1',
        )
        self._bucket = bucket

    def write(self, name: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=name, Body=data)

    def remove(self, name: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=name)

    def contents(self) -> dict[str, bytes]:
        found = self._client.list_objects_v2(Bucket=self._bucket).get('Contents', ())
        names = [entry['Key'] for entry in found]
        return {
            name: self._client.get_object(Bucket=self._bucket, Key=name)['Body'].read()
            for name in names
        }


class Rbd:
    """Devices of a pool, each with the snapshot that is read."""

    def __init__(self, cluster: ceph.Cluster, pool: str) -> None:
        self._cluster = cluster
        self._pool = pool

    @contextlib.contextmanager
    def _opened(self, threads: int = 1):
        """The pool; to take protection off with two threads, as store_drivers/ceph.py says it."""
        import rados

        settings = {'client_mount_timeout': '60', 'librados_thread_count': str(threads)}
        path = str(self._cluster.conf)
        with (
            rados.Rados(conffile=path, rados_id='admin', conf=settings) as link,
            link.open_ioctx(self._pool) as pool,
        ):
            yield pool

    def write(self, name: str, data: bytes) -> None:
        import rbd

        with self._opened(threads=2) as pool, rbd.Image(pool, name) as image:
            image.unprotect_snap('snap')
            image.remove_snap('snap')
            image.resize(len(data))
            image.write(data, 0)
            image.create_snap('snap')
            image.protect_snap('snap')

    def remove(self, name: str) -> None:
        import rbd

        with self._opened(threads=2) as pool, rbd.Image(pool, name) as image:
            image.unprotect_snap('snap')
            image.remove_snap('snap')
        with self._opened() as pool:
            rbd.RBD().remove(pool, name)

    def contents(self) -> dict[str, bytes]:
        import rbd

        found = {}
        with self._opened() as pool:
            for name in rbd.RBD().list(pool):
                with rbd.Image(pool, name, snapshot='snap', read_only=True) as image:
                    found[name] = image.read(0, image.size())
        return found


# --- the service


@dataclasses.dataclass
class Scene:
    """A chain over four stores, and what is known of them."""

    chain: Any
    parts: Any
    backends: dict[str, Any]
    random: random.Random
    #: image -> what it holds
    data: dict[str, bytes] = dataclasses.field(default_factory=dict)

    @property
    def inner(self):
        return self.chain.inner

    def image(self, store: str) -> str:
        """A new image with data in a store."""
        ctx = caller('alpha')
        fields = {'disk_format': 'raw', 'container_format': 'bare'}
        image = self.chain.outer.create_image(ctx, Changes(fields=fields))
        data = self.random.randbytes(self.random.randrange(1000, 300_000))
        self.inner.upload(caller('alpha'), image.id, make_upload(data), store)
        self.data[image.id] = data
        return image.id

    def name(self, image_id: str, store: str) -> str:
        """What the store calls the data of an image."""
        (location,) = (one for one in self.now(image_id).locations if one.store == store)
        if store == 'rbd':
            return location.url.split('/')[-2]
        return location.url.rpartition('/')[2]

    def now(self, image_id: str):
        return self.inner.peek(service_context(), image_id)

    def read(self, image_id: str) -> bytes:
        return b''.join(map(bytes, self.inner.download(caller('alpha'), image_id, Wanted())))

    def execute(self, statement) -> None:
        self.chain.layers[-1].database.write(lambda connection: connection.execute(statement))

    def seed(self, kind: str, store: str) -> tuple[str, str, str]:
        """A fault; (image, kind, store) as it is to be found."""
        backend = self.backends[store]
        if kind == 'orphan':
            name = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
            self.parts.gateway.stores[store].driver.add(name, Source(b'of nobody'), 9)
            return name, kind, store
        image_id = self.image(store)
        name, data = self.name(image_id, store), self.data.pop(image_id)
        if kind == 'damaged':
            at = self.random.randrange(len(data))
            flipped = data[at] ^ (1 << self.random.randrange(8))
            backend.write(name, data[:at] + bytes([flipped]) + data[at + 1 :])
        elif kind == 'truncated':
            backend.write(name, data[: self.random.randrange(1, len(data))])
        elif kind == 'wrong size':
            backend.write(name, data + self.random.randbytes(self.random.randrange(1, 5000)))
        else:
            backend.remove(name)
        if kind == 'no data':
            table = tables.image_locations
            self.execute(sa.delete(table).where(table.c.image_id == image_id))
            return image_id, kind, 'none'
        return image_id, kind, store

    def audit(self, **plan):
        """{(image, kind, store): what was done}, and the counts."""
        auditor = Auditor(self.inner, Plan('test', **plan))
        found = {}
        for one in auditor.run():
            key = (one.finding.image_id, one.finding.fault, one.finding.store or 'none')
            assert key not in found, 'found twice'
            found[key] = one.done
        return found, auditor.counts

    def contents(self):
        return {store: backend.contents() for store, backend in self.backends.items()}


@pytest.fixture
def scene(tmp_path):
    server, cluster, gateway = swift.swift('tempauth'), ceph.cluster(), radosgw.gateway()
    user, key = next(iter(swift.TEMPAUTH.items()))
    name = f'images{uuid.uuid4().hex[:12]}'
    with cluster.pool() as pool, gateway.user() as keys:
        (tmp_path / 'file').mkdir()
        text = CONFIGURATION.format(
            stores=','.join(f'{store}:{store}' for store in STORES),
            directory=tmp_path,
            swift=server,
            user=user,
            key=key,
            name=name,
            client=cluster.client(tmp_path / 'ceph', pool),
            pool=pool,
            s3=gateway,
            keys=keys,
        )
        parts = make_parts(tmp_path, text)
        admin.sync(parts.conf)
        chain = link(load_layers(parts))
        for layer in chain.layers:
            layer.start()
        backends = {
            'file': File(tmp_path / 'file'),
            'swift': Swift(server, user, key, name),
            'rbd': Rbd(cluster, pool),
            's3': S3(gateway.http, keys, name),
        }
        yield Scene(chain, parts, backends, random.Random(SEED))
        for layer in chain.layers:
            layer.stop()


def locations(scene):
    table = tables.image_locations
    layer = scene.chain.layers[-1]
    with layer.database.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(table).order_by(table.c.id))]


def test_each_seeded_fault_is_found_and_nothing_whole_is_touched(scene):
    for store in STORES:
        for _ in range(WHOLE):
            scene.image(store)
    pairs = [(kind, store) for kind in KINDS for store in STORES]
    chosen = [*pairs, *scene.random.choices(pairs, k=FAULTS - len(pairs))]
    scene.random.shuffle(chosen)
    seeded = {scene.seed(*pair) for pair in chosen}
    assert len(seeded) == FAULTS
    time.sleep(1.1)  # some stores count the age of what they hold in seconds
    before, rows = scene.contents(), locations(scene)
    found, counts = scene.audit()
    assert set(found) == seeded
    kinds = collections.Counter(kind for kind, _ in chosen)
    for kind in KINDS:
        assert counts[kind.replace(' ', '_')] == kinds[kind]
    # Each was the only copy: all stay as they are, in the stores and in the rows.
    assert scene.contents() == before and locations(scene) == rows
    for image_id, data in scene.data.items():
        assert scene.read(image_id) == data
    # A second pass says the same.
    assert set(scene.audit()[0]) == seeded


def test_bad_copies_are_replaced_in_each_store(scene):
    """Images with a copy in all four, one of which is bad in each way."""
    bad = {}
    for kind in ('damaged', 'missing', 'truncated', 'wrong size'):
        for store in STORES:
            image_id = scene.image(store)
            data = scene.data[image_id]
            for other in STORES:
                if other != store:
                    scene.inner.copy_data(service_context(), Copying(image_id, other))
            name, backend = scene.name(image_id, store), scene.backends[store]
            if kind == 'missing':
                backend.remove(name)
            else:
                changes = {
                    'damaged': bytes([data[0] ^ 1]) + data[1:],
                    'truncated': data[:-1],
                    'wrong size': data + b'!',
                }
                backend.write(name, changes[kind])
            bad[image_id, kind, store] = data
    found, counts = scene.audit(min_age=3600)
    assert set(found) == set(bad) and counts['quarantined'] == len(bad)
    for (image_id, _, store), data in bad.items():
        assert scene.read(image_id) == data
        assert [one.store for one in scene.now(image_id).locations if not one.good] == [store]
    found, counts = scene.audit(min_age=3600, repair=True)
    assert set(found) == set(bad) and counts['repaired'] == len(bad)
    contents = scene.contents()
    assert {len(kept) for kept in contents.values()} == {len(bad)}
    for (image_id, _, _), data in bad.items():
        image = scene.now(image_id)
        assert sorted(one.store for one in image.locations) == sorted(STORES)
        assert all(one.good for one in image.locations)
        for store in STORES:
            assert contents[store][scene.name(image_id, store)] == data
    assert scene.audit()[0] == {}
