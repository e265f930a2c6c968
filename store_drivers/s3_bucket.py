# SPDX-License-Identifier: Apache-2.0
"""What the s3 driver asks of its server: requests about one bucket, in terms of the contract."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

from glance_lite.store import (
    BadStoreConfiguration,
    BadStoreUri,
    ObjectNotFound,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from store_drivers.answers import Body, asked, broken, refused

#: Seconds, and how often a request is tried.
CONNECT, READ, ATTEMPTS = 10.0, 60.0, 3
#: Connections that are kept; more are made when they are needed.
KEPT = 64

#: Hosts of Amazon, by their region.
_AMAZON = re.compile(r's3[.-](?:dualstack\.)?(?:([a-z]+(?:-[a-z]+)+-\d)\.)?amazonaws\.com(?:\.cn)?')
_FULL = frozenset({'QuotaExceeded', 'InsufficientCapacity', 'EntityTooLarge', 'XMinioStorageFull'})
_PRINTABLE = re.compile('[!-~]+')


class NoBucket(StoreUnavailable):
    """There is no such bucket."""


class Bucket:
    """One bucket of one server."""

    def __init__(self, store: str, settings: Mapping[str, Any]) -> None:
        """`store` is the store's id, `settings` its options. `BadStoreConfiguration`."""
        self._store = store
        self._settings = settings
        for option in ('host', 'access_key', 'secret_key', 'bucket'):
            if not settings[f's3_store_{option}']:
                self.wrong(option, 'must be set')
        self.name: str = settings['s3_store_bucket']
        #: whether it is not the one that is configured
        self._elsewhere = False
        if not re.fullmatch('[a-zA-Z0-9._-]{1,255}', self.name):
            self.wrong('bucket', f'{self.name!r} is not the name of a bucket')
        #: the url that requests go to
        self.endpoint = self._server()
        #: the server as it stands in urls of images
        self.service = self.endpoint.partition('://')[2]
        self._amazon = _AMAZON.fullmatch(self.service)
        self._style = self._address_style()

    def wrong(self, option: str, reason: str) -> NoReturn:
        raise BadStoreConfiguration(f'[{self._store}] s3_store_{option}: {reason}')

    def _server(self) -> str:
        given: str = self._settings['s3_store_host'].strip().rstrip('/')
        endpoint = given if re.match('https?:', given) else f'http://{given}'
        try:
            parts = urlsplit(endpoint)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or '@' in given or parts.query or parts.fragment:
            self.wrong('host', 'must be http://HOST[:PORT] or https://HOST[:PORT]')
        if not _PRINTABLE.fullmatch(given):
            self.wrong('host', 'contains a character that no url can')
        return endpoint

    def _address_style(self) -> str:
        style: str = self._settings['s3_store_bucket_url_format']
        if style not in ('auto', 'virtual', 'path'):
            self.wrong('bucket_url_format', f'{style} is not auto, virtual or path')
        if style == 'virtual' and not re.fullmatch('[a-z0-9][a-z0-9.-]+[a-z0-9]', self.name):
            self.wrong('bucket_url_format', f'{self.name} cannot be part of a host name; use path')
        if style == 'auto':
            # A dot in the name would be one too many for the certificate.
            named = re.fullmatch('[a-z0-9][a-z0-9-]+[a-z0-9]', self.name)
            return 'virtual' if named and self._amazon else 'path'
        return style

    def is_beside(self, other: Bucket) -> bool:
        """Whether the same user reaches both at the same server."""
        key = 's3_store_access_key'
        return self.endpoint == other.endpoint and self._settings[key] == other._settings[key]

    def called(self, name: str) -> Bucket:
        """Another bucket of the same server, asked with the same connections."""
        if name == self.name:
            return self
        other = copy.copy(self)
        other.name, other._elsewhere = name, True
        return other

    def connect(self, needs: str) -> None:
        """Make the client; asks nobody. `needs` is how its library is installed."""
        try:
            import boto3
            import botocore.config
            import botocore.exceptions
            import urllib3.exceptions
        except ImportError as ex:
            raise BadStoreConfiguration(
                f'[{self._store}] a store of type s3 needs boto3, which is not installed: {needs}'
            ) from ex
        self._refusals = botocore.exceptions.ClientError
        self._breaks: tuple[type[BaseException], ...] = (
            botocore.exceptions.BotoCoreError,
            urllib3.exceptions.HTTPError,
            OSError,
        )
        settings = self._settings
        file = settings['s3_store_cacert']
        try:
            with open(file or '/dev/null'):
                pass
        except OSError as ex:
            self.wrong('cacert', f'{file} cannot be read: {ex.strerror}')
        chosen = settings['s3_store_enable_data_integrity_protection']
        checksums = {
            name: settings[f's3_store_{name}'] if chosen else 'when_required'
            for name in ('request_checksum_calculation', 'response_checksum_validation')
        }
        region = settings['s3_store_region_name'] or (self._amazon and self._amazon[1])
        self._region: str = region or 'us-east-1'
        session = boto3.session.Session(
            settings['s3_store_access_key'], settings['s3_store_secret_key']
        )
        self._client: Any = session.client(
            's3',
            region_name=self._region,
            endpoint_url=self.endpoint,
            verify=file or None,
            config=botocore.config.Config(
                # PERF: over TLS nothing is gained by a hash of the data in the signature, and it
                # costs both sides as much as all the rest. Without TLS only that hash tells when
                # something was changed on the way.
                s3={
                    'addressing_style': self._style,
                    'payload_signing_enabled': not self.endpoint.startswith('https:'),
                },
                signature_version='s3v4',
                connect_timeout=CONNECT,
                read_timeout=READ,
                retries={'mode': 'standard', 'total_max_attempts': ATTEMPTS},
                max_pool_connections=KEPT,
                **checksums,
            ),
        )

    # --- requests

    def ask(self, verb: str, **parameters: Any) -> Mapping[str, Any]:
        """The answer to one request of boto3's client. Raises the contract's errors."""
        try:
            answer: Mapping[str, Any] = getattr(self._client, verb)(Bucket=self.name, **parameters)
            return answer
        except self._refusals as ex:
            raise self._refused(ex.response) from None
        except self._breaks as ex:
            raise self._broken(ex) from None

    def pages(self, verb: str, **parameters: Any) -> Iterator[Mapping[str, Any]]:
        """The answers to one request that lists."""
        pages = iter(self._client.get_paginator(verb).paginate(Bucket=self.name, **parameters))
        while True:
            try:
                page = next(pages, None)
            except self._refusals as ex:
                raise self._refused(ex.response) from None
            except self._breaks as ex:
                raise self._broken(ex) from None
            if page is None:
                return
            yield page

    def head(self, key: str) -> Mapping[str, Any] | None:
        """What the server knows of an object, if there is one."""
        try:
            return self.ask('head_object', Key=key)
        except ObjectNotFound:
            return None

    def read(self, key: str, offset: int, length: int | None, chunk_size: int) -> Body:
        """The bytes of an object from `offset`. `ObjectNotFound`, `PastTheEnd`."""
        wanted = asked(offset, length)
        answer = self.ask('get_object', Key=key, **wanted)
        body = answer['Body']
        if wanted and not answer.get('ContentRange', '').startswith(f'bytes {offset}-'):
            body.close()
            raise StoreUnavailable(f'Store {self._store} sent another range than it was asked')
        chunks = iter(functools.partial(body.read, chunk_size), b'')
        return Body(chunks, body.close, self._breaks, self._broken)

    def create(self) -> None:
        """Make the bucket. `ObjectExists`."""
        elsewhere = self._amazon and self._region != 'us-east-1'
        place = {'CreateBucketConfiguration': {'LocationConstraint': self._region}}
        self.ask('create_bucket', **(place if elsewhere else {}))

    def check(self) -> None:
        """`NoBucket`, and whatever else keeps us from it."""
        try:
            self.ask('head_bucket')
        except ObjectNotFound:
            raise NoBucket(f'Store {self._store} has no bucket {self.name}') from None

    # --- what went wrong

    def _broken(self, ex: BaseException) -> StoreUnavailable:
        return broken(self._store, ex)

    def _refused(self, answer: Mapping[str, Any]) -> StoreError:
        code = re.sub(r'\W', '', str(answer.get('Error', {}).get('Code', '')))[:60]
        status = answer.get('ResponseMetadata', {}).get('HTTPStatusCode', 0)
        if code == 'NoSuchBucket' and self._elsewhere:
            # Of another time, which says nothing of the store.
            return BadStoreUri(f'Store {self._store}: there is no bucket {self.name} any more')
        if code == 'NoSuchBucket':
            return NoBucket(f'Store {self._store} has no bucket {self.name}')
        if code in _FULL or status == 507:
            return StoreFull(f'Store {self._store} is full')
        known = refused(self._store, status)
        return known or StoreUnavailable(f'Store {self._store} answered with {code or status}')
