# SPDX-License-Identifier: Apache-2.0
"""What a backend itself takes: its own library, several requests on their way, nothing else.

No image service and no digest. It gets a job as JSON from standard input and writes what it
measured to standard output. A `name` that is written is removed again, which is not measured.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import queue
import sys
import time
from collections.abc import Callable, Iterator

MIB = 1024 * 1024
#: bytes of a request, and requests that are on their way
PIECE, DEPTH = 8 * MIB, 4
DATA = os.urandom(PIECE)

Options = dict[str, str]
#: writes or reads `size` bytes under a name
Move = Callable[[str, int], None]


def pieces(size: int) -> Iterator[tuple[int, int]]:
    """(offset, bytes) of each request."""
    for offset in range(0, size, PIECE):
        yield offset, min(PIECE, size - offset)


def in_threads(work: Callable[[int, int], object], size: int) -> list[object]:
    with concurrent.futures.ThreadPoolExecutor(DEPTH) as pool:
        return list(pool.map(lambda piece: work(*piece), pieces(size)))


@contextlib.contextmanager
def file(options: Options) -> Iterator[tuple[Move, Move, Callable[[str], None]]]:
    directory = options['filesystem_store_datadir']

    def put(name: str, size: int) -> None:
        with open(f'{directory}/{name}', 'xb', buffering=0) as opened:
            for _, length in pieces(size):
                opened.write(DATA[:length])
            os.fsync(opened.fileno())

    def get(name: str, size: int) -> None:
        buffer = bytearray(PIECE)
        with open(f'{directory}/{name}', 'rb', buffering=0) as opened:
            while opened.readinto(buffer):
                pass

    yield put, get, lambda name: os.unlink(f'{directory}/{name}')


@contextlib.contextmanager
def s3(options: Options) -> Iterator[tuple[Move, Move, Callable[[str], None]]]:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        's3',
        endpoint_url=options['s3_store_host'],
        region_name='us-east-1',
        aws_access_key_id=options['s3_store_access_key'],
        aws_secret_access_key=options['s3_store_secret_key'],
        verify=options['s3_store_cacert'] or None,
        config=Config(
            s3={'addressing_style': 'path', 'payload_signing_enabled': False},
            request_checksum_calculation='when_required',
            response_checksum_validation='when_required',
        ),
    )
    bucket = options['s3_store_bucket']

    def put(name: str, size: int) -> None:
        upload = client.create_multipart_upload(Bucket=bucket, Key=name)
        named = {'Bucket': bucket, 'Key': name, 'UploadId': upload['UploadId']}

        def send(offset: int, length: int) -> object:
            number = offset // PIECE + 1
            part = client.upload_part(PartNumber=number, Body=DATA[:length], **named)
            return {'PartNumber': number, 'ETag': part['ETag']}

        parts = in_threads(send, size)
        client.complete_multipart_upload(MultipartUpload={'Parts': parts}, **named)

    def get(name: str, size: int) -> None:
        body = client.get_object(Bucket=bucket, Key=name)['Body']
        buffer = bytearray(MIB)
        while body._raw_stream.readinto(buffer):
            pass

    yield put, get, lambda name: client.delete_object(Bucket=bucket, Key=name)


@contextlib.contextmanager
def rbd(options: Options) -> Iterator[tuple[Move, Move, Callable[[str], None]]]:
    import rados
    import rbd as library

    cluster = rados.Rados(
        conffile=options['rbd_store_ceph_conf'], rados_id=options['rbd_store_user']
    )
    with cluster, cluster.open_ioctx(options['rbd_store_pool']) as pool:

        def move(image: library.Image, start: Callable[..., object], size: int) -> None:
            done: queue.SimpleQueue[None] = queue.SimpleQueue()
            for number, (offset, length) in enumerate(pieces(size)):
                if number >= DEPTH:
                    done.get()
                start(image, offset, length, lambda *_: done.put(None))
            for _ in range(min(DEPTH, -(-size // PIECE))):
                done.get()

        def put(name: str, size: int) -> None:
            library.RBD().create(pool, name, size, 23, old_format=False)
            with library.Image(pool, name) as image:
                move(image, lambda i, at, n, told: i.aio_write(DATA[:n], at, told), size)
                image.flush()

        def get(name: str, size: int) -> None:
            with library.Image(pool, name, snapshot='snap', read_only=True) as image:
                move(image, lambda i, at, n, told: i.aio_read(at, n, told), size)

        yield put, get, lambda name: library.RBD().remove(pool, name)


@contextlib.contextmanager
def swift(options: Options) -> Iterator[tuple[Move, Move, Callable[[str], None]]]:
    import configparser

    import requests
    from keystoneauth1 import session
    from keystoneauth1.identity import v3

    known = configparser.ConfigParser(interpolation=None)
    known.read(options['swift_store_config_file'])
    who = known['ref1']
    project, _, user = who['user'].partition(':')
    domains = {name: who[name] for name in ('user_domain_id', 'project_domain_id')}
    login = v3.Password(
        who['auth_address'], username=user, password=who['key'], project_name=project, **domains
    )
    keystone = session.Session(login)
    token = {'X-Auth-Token': keystone.get_token()}
    region = options['swift_store_region']
    url = login.get_endpoint(keystone, service_type='object-store', region_name=region)
    base = f'{url}/{options["swift_store_container"]}'

    class Body:
        """What `requests` sends as it is, with the size that it has."""

        def __init__(self, size: int) -> None:
            self.len = size

        def __iter__(self) -> Iterator[bytes]:
            return (DATA[:length] for _, length in pieces(self.len))

    def put(name: str, size: int) -> None:
        requests.put(f'{base}/{name}', data=Body(size), headers=token).raise_for_status()

    def get(name: str, size: int) -> None:
        buffer = bytearray(MIB)
        with requests.get(f'{base}/{name}', headers=token, stream=True) as answer:
            while answer.raw._fp.readinto(buffer):
                pass

    def remove(name: str) -> None:
        requests.delete(f'{base}/{name}', headers=token).raise_for_status()

    yield put, get, remove


KINDS = {'file': file, 's3': s3, 'rbd': rbd, 'swift': swift}


def main() -> None:
    job = json.load(sys.stdin)
    with KINDS[job['kind']](job['options']) as (put, get, remove):
        work = put if job['verb'] == 'put' else get
        cpu, begun = sum(os.times()[:2]), time.monotonic()
        if job['streams'] == 1:
            work(job['names'][0], job['size'])
        else:
            with concurrent.futures.ThreadPoolExecutor(job['streams']) as pool:
                list(pool.map(lambda name: work(name, job['size']), job['names']))
        elapsed, cpu = time.monotonic() - begun, sum(os.times()[:2]) - cpu
        json.dump({'elapsed': elapsed, 'cpu': cpu}, sys.stdout)
        sys.stdout.flush()
        if job['verb'] == 'put':
            for name in job['names']:
                remove(name)


if __name__ == '__main__':
    main()
