# SPDX-License-Identifier: Apache-2.0
"""The data of an image as a backend has it, read with the backend's own library."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

MIB = 1024 * 1024

Options = dict[str, str]


def stored(kind: str, options: Options, name: str) -> Iterator[bytes]:
    """The data of an image, from the backend itself."""
    return {'file': _file, 'rbd': _rbd, 's3': _s3}[kind](options, name)


def _file(options: Options, name: str) -> Iterator[bytes]:
    with open(f'{options["filesystem_store_datadir"]}/{name}', 'rb') as data:
        while chunk := data.read(8 * MIB):
            yield chunk


def _rbd(options: Options, name: str) -> Iterator[bytes]:
    import rados
    import rbd

    cluster = rados.Rados(
        conffile=options['rbd_store_ceph_conf'], rados_id=options['rbd_store_user']
    )
    with cluster, cluster.open_ioctx(options['rbd_store_pool']) as pool:
        with rbd.Image(pool, name, snapshot='snap', read_only=True) as image:
            for offset in range(0, image.size(), 8 * MIB):
                yield image.read(offset, min(8 * MIB, image.size() - offset))


def _s3(options: Options, name: str) -> Iterator[bytes]:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        's3',
        endpoint_url=options['s3_store_host'],
        region_name='us-east-1',
        aws_access_key_id=options['s3_store_access_key'],
        aws_secret_access_key=options['s3_store_secret_key'],
        verify=options['s3_store_cacert'] or None,
        config=Config(s3={'addressing_style': 'path'}),
    )
    body = client.get_object(Bucket=options['s3_store_bucket'], Key=name)['Body']
    yield from body.iter_chunks(8 * MIB)


def digest(kind: str, options: Options, name: str) -> str:
    """SHA-512 of the data of an image in a store, or what is wrong with it."""
    value = hashlib.sha512()
    try:
        for chunk in stored(kind, options, name):
            value.update(chunk)
    except Exception as ex:
        return f'{type(ex).__name__}: {ex}'
    return value.hexdigest()
