# SPDX-License-Identifier: Apache-2.0
"""Images in a bucket of an S3 server: ``s3://HOST/BUCKET/IMAGE-ID``, as Glance names them.

A name is taken by writing it on the condition that nothing has it. What fits in one part is
written like that at once. For more, an empty object *claims* the name, the data come as parts,
and completing them puts the data in the place of the claim in one step; whoever gives up aborts
the parts and removes the claim. A killed process leaves a claim and parts under the name, and
`delete` by that name removes both, so that the sweeper needs to know nothing of them.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import logging
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from oslo_config import cfg

from glance_lite.store import (
    BadStoreUri,
    Cap,
    LeftBehind,
    ObjectExists,
    ObjectNotFound,
    Source,
    StoreDenied,
    StoreDriver,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from store_drivers.answers import PastTheEnd
from store_drivers.s3_bucket import Bucket, NoBucket
from store_drivers.s3_parts import MIB, MOST_PARTS, Part, Parts

LOG = logging.getLogger(__name__)

#: Fewest MiB of a part but the last: S3 says so.
LEAST_PART = 5
#: Bytes of one upload that are on their way at a time, where that is two parts or more.
ON_THE_WAY = 32 * MIB
#: Most bytes that are copied by one request, and bytes of a part where it takes several: S3 says so
#: of the first, and the second is done well within the time that we wait for an answer.
COPY_WHOLE, COPY_PART = 5 * 1024 * MIB, 512 * MIB

#: Metadata of objects: which upload wrote it, and which upload has yet to.
UPLOAD, CLAIM = 'glance-lite-upload', 'glance-lite-claim'

#: Sends a part, given its number and what requests about the upload carry; gives its ETag.
Send = Callable[[int, Mapping[str, str]], str]

_URL = re.compile(
    r'(s3|s3\+https?)://(?:.*@)?([A-Za-z0-9[][^/@?#]*(?:/[^/@?#]+)*)/([^/@?#]+)/([^/@?#]+)'
)
_BUCKET = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{1,254}')
_KEY = re.compile(r'[!-~]{1,1024}')

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        's3_store_host',
        help='Server, as https://HOST[:PORT] or http://HOST[:PORT]; without a scheme it is http.',
    ),
    cfg.StrOpt(
        's3_store_region_name',
        default='',
        help='Region of the server. Found out from the name of a host of Amazon; else us-east-1.',
    ),
    cfg.StrOpt('s3_store_access_key', secret=True, help='Access key of the user.'),
    cfg.StrOpt('s3_store_secret_key', secret=True, help='Secret key of the user.'),
    cfg.StrOpt('s3_store_bucket', help='Bucket of new images. Those in others are read.'),
    cfg.BoolOpt(
        's3_store_create_bucket_on_put',
        default=False,
        help='Make the bucket with the first image, if there is none.',
    ),
    cfg.StrOpt(
        's3_store_bucket_url_format',
        default='auto',
        help='Where the bucket stands in a request: virtual (a part of the host name), path, or '
        'auto: virtual at Amazon, path everywhere else.',
    ),
    cfg.IntOpt(
        's3_store_large_object_size',
        default=100,
        min=0,
        help='MiB from which an image is written in parts. One that is larger than a part always '
        'is, whatever this says, so that no more than some parts are held in memory.',
    ),
    cfg.IntOpt(
        's3_store_large_object_chunk_size',
        default=10,
        help='MiB of a part, at least 5. Parts of very large images are larger.',
    ),
    cfg.IntOpt(
        's3_store_thread_pools',
        default=10,
        help='Parts that one worker process sends at a time, of all its uploads together.',
    ),
    cfg.StrOpt(
        's3_store_cacert',
        default='',
        help='Certificates of authorities that the server is verified with, as PEM. Those of the '
        'library if it is not set.',
    ),
    cfg.BoolOpt(
        's3_store_enable_data_integrity_protection',
        default=False,
        help='Let the two options below say when checksums go with the data. Without it they do '
        'where S3 requires them, which every server understands.',
    ),
    cfg.StrOpt(
        's3_store_request_checksum_calculation',
        default='when_required',
        choices=['when_required', 'when_supported'],
        help='When checksums are sent with data.',
    ),
    cfg.StrOpt(
        's3_store_response_checksum_validation',
        default='when_required',
        choices=['when_required', 'when_supported'],
        help='When checksums of what is read are verified.',
    ),
]


@dataclasses.dataclass(frozen=True)
class Object:
    """An object, wherever its bucket is: the configured one, or that of another time."""

    bucket: str
    name: str


def _split(url: str) -> tuple[str, Object]:
    """(host, what is there). Older urls carry credentials, which may contain slashes."""
    found = _URL.fullmatch(url)
    if found is None or not (_BUCKET.fullmatch(found[3]) and _KEY.fullmatch(found[4])):
        raise BadStoreUri('Not an s3 url')
    return found[2], Object(found[3], found[4])


class S3Store(StoreDriver):
    """A bucket of an S3 server: Amazon's, Ceph's radosgw and others."""

    schemes = ('s3', 's3+https', 's3+http')
    caps = Cap.WRITE | Cap.LIST | Cap.COPY
    opts = OPTIONS
    needs = 'pip install glance-lite[s3]'
    io = 'socket'

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        self._bucket = bucket = Bucket(name, settings)
        if bucket.endpoint.startswith('https:'):
            self.schemes = ('s3+https', 's3', 's3+http')
        self._large: int = settings['s3_store_large_object_size'] * MIB
        self._part: int = settings['s3_store_large_object_chunk_size'] * MIB
        if self._part < LEAST_PART * MIB:
            bucket.wrong('large_object_chunk_size', f'must be at least {LEAST_PART}')
        if settings['s3_store_thread_pools'] < 1:
            bucket.wrong('thread_pools', 'must be at least 1')

    def start(self) -> None:
        bucket = self._bucket
        bucket.connect(self.needs)
        self._pool = concurrent.futures.ThreadPoolExecutor(self.settings['s3_store_thread_pools'])
        try:
            self.check()
        except NoBucket:
            cure = 'make it, or set s3_store_create_bucket_on_put'
            bucket.wrong('bucket', f'there is no bucket {bucket.name}; {cure}')
        except StoreDenied:
            reason = f'the server refuses the keys, or lets their user not see {bucket.name}'
            bucket.wrong('access_key', reason)
        except StoreUnavailable as ex:
            if 'certificate' in ex.message:
                bucket.wrong('cacert', 'the certificate of the server is not trusted')
            raise

    def _missing(self) -> StoreError:
        """There is no such object; and without the bucket nobody knows if there was."""
        try:
            self.check()
        except StoreError as ex:
            return ex
        return ObjectNotFound(f'Store {self.name} does not hold the data')

    # --- names

    def _url(self, key: str) -> str:
        return f'{self.schemes[0]}://{self._bucket.service}/{self._bucket.name}/{key}'

    def parse(self, url: str) -> Object:
        """Host and credentials in it are of the time when it was written: ours are used."""
        return _split(url)[1]

    def owns(self, url: str) -> bool:
        """Of our server and our bucket alone."""
        try:
            host, found = _split(url)
        except BadStoreUri:
            return False
        bucket = self._bucket
        return (host.lower(), found.bucket) == (bucket.service.lower(), bucket.name)

    def redact(self, url: str) -> str:
        scheme, separator, rest = url.partition('://')
        _, at, path = rest.rpartition('@')
        return f'{scheme}{separator}***@{path}' if at else url

    def locate(self, name: str) -> tuple[str, ...]:
        return (self._url(name),)

    # --- in

    def add(self, name: str, source: Source, size: int | None) -> str:
        self._check_free(name)
        parts = Parts(source, size, self._part)
        with self._attempt(name) as attempt:
            if parts.fit(self._large):
                self._take(attempt, UPLOAD, next(parts))
            else:
                self._take(attempt, CLAIM, Part())
                sends = ((part.size, functools.partial(self._send, part)) for part in parts)
                self._add_parts(attempt, sends)
        return self._url(name)

    def copy_from(self, other: StoreDriver, key: Any, name: str) -> str | None:
        if not isinstance(other, S3Store) or not self._bucket.is_beside(other._bucket):
            return None
        self._check_free(name)
        size = other.size(key)
        source = {'CopySource': {'Bucket': key.bucket, 'Key': key.name}}
        with self._attempt(name) as attempt:
            self._take(attempt, CLAIM, Part())
            if size <= COPY_WHOLE:
                metadata = {'Metadata': {UPLOAD: attempt.token}, 'MetadataDirective': 'REPLACE'}
                self._bucket.ask('copy_object', Key=name, **source, **metadata)
            else:
                ranges = ((at, min(at + COPY_PART, size) - 1) for at in range(0, size, COPY_PART))
                sends = (
                    (ON_THE_WAY, functools.partial(self._copy, source, f'bytes={first}-{last}'))
                    for first, last in ranges
                )
                self._add_parts(attempt, sends)
        return self._url(name)

    def _check_free(self, name: str) -> None:
        if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9._-]{0,254}', name):
            raise StoreError(f'{name!r} is not a name for an object')
        if self._bucket.head(name) is not None:
            raise ObjectExists(f'Store {self.name} holds {name} already')

    @contextlib.contextmanager
    def _attempt(self, name: str) -> Iterator[_Attempt]:
        """Nothing is left of it if the block fails."""
        attempt = _Attempt(name)
        try:
            yield attempt
        except BaseException as ex:
            if attempt.begun:
                self._undo(attempt, ex)
            raise

    def _take(self, attempt: _Attempt, mark: str, body: Part) -> None:
        """Write an object under a name that nobody has. `ObjectExists`."""
        attempt.begun = True
        try:
            try:
                self._put(attempt, mark, body)
            except NoBucket:
                if not self.settings['s3_store_create_bucket_on_put']:
                    raise
                with contextlib.suppress(ObjectExists):  # somebody else was quicker
                    self._bucket.create()
                self._put(attempt, mark, body)
        except ObjectExists:
            # Or it is ours, and the answer to the first attempt was lost.
            if not self._is_ours(attempt):
                attempt.begun = False
                raise

    def _put(self, attempt: _Attempt, mark: str, body: Part) -> None:
        body.seek(0)
        metadata = {mark: attempt.token}
        self._bucket.ask(
            'put_object', Key=attempt.name, Body=body, IfNoneMatch='*', Metadata=metadata
        )

    def _is_ours(self, attempt: _Attempt) -> bool:
        head = self._bucket.head(attempt.name)
        return head is not None and attempt.token in head['Metadata'].values()

    def _add_parts(self, attempt: _Attempt, sends: Iterator[tuple[int, Send]]) -> None:
        """Make an object of what comes as (bytes, how that part gets to the server)."""
        metadata = {UPLOAD: attempt.token}
        answer = self._bucket.ask('create_multipart_upload', Key=attempt.name, Metadata=metadata)
        attempt.upload = {'Key': attempt.name, 'UploadId': answer['UploadId']}
        on_the_way: collections.deque[concurrent.futures.Future[str]] = collections.deque()
        etags: list[str] = []
        try:
            for number, (size, send) in enumerate(sends, 1):
                if number > MOST_PARTS:
                    raise StoreFull(f'Store {self.name} takes no more than {MOST_PARTS} parts')
                on_the_way.append(self._pool.submit(send, number, attempt.upload))
                del send  # or the part would be held until the next one comes
                while len(on_the_way) >= max(2, ON_THE_WAY // size):
                    etags.append(on_the_way.popleft().result())
            etags += [sending.result() for sending in on_the_way]
        except BaseException:
            # Of a part that is still being sent nobody knows where it ends up.
            for sending in on_the_way:
                sending.cancel()
            concurrent.futures.wait(on_the_way)
            raise
        self._complete(attempt, etags)

    def _send(self, part: Part, number: int, upload: Mapping[str, str]) -> str:
        part.seek(0)
        answer = self._bucket.ask('upload_part', PartNumber=number, Body=part, **upload)
        return str(answer['ETag'])

    def _copy(
        self, source: Mapping[str, Any], span: str, number: int, upload: Mapping[str, str]
    ) -> str:
        answer = self._bucket.ask(
            'upload_part_copy', PartNumber=number, CopySourceRange=span, **source, **upload
        )
        return str(answer['CopyPartResult']['ETag'])

    def _complete(self, attempt: _Attempt, etags: list[str]) -> None:
        parts = [{'PartNumber': number, 'ETag': etag} for number, etag in enumerate(etags, 1)]
        whole = {'MultipartUpload': {'Parts': parts}}
        try:
            self._bucket.ask('complete_multipart_upload', **whole, **attempt.upload)
        except StoreError:
            # Or it is done, and the answer to the first attempt was lost.
            head = self._bucket.head(attempt.name)
            if head is None or head['Metadata'].get(UPLOAD) != attempt.token:
                raise

    def _undo(self, attempt: _Attempt, ex: BaseException) -> None:
        """Remove what a failed upload has left. `LeftBehind`, when the server does not let us."""
        try:
            if attempt.upload:
                with contextlib.suppress(ObjectNotFound):
                    self._bucket.ask('abort_multipart_upload', **attempt.upload)
            if self._is_ours(attempt):
                self._bucket.ask('delete_object', Key=attempt.name)
        except StoreError as second:
            LOG.error('Store %s may hold something of a failed upload: %s', self.name, second)
            if isinstance(ex, Exception):
                raise LeftBehind(f'Store {self.name} failed: {second}') from ex

    # --- out

    def _in(self, key: Object) -> Bucket:
        return self._bucket.called(key.bucket)

    def get(self, key: Object, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        if length == 0:
            self.size(key)
            return iter(())
        try:
            return self._in(key).read(key.name, offset, length, self.chunk_size)
        except ObjectNotFound:
            raise self._missing() from None
        except PastTheEnd:
            return iter(())

    def size(self, key: Object) -> int:
        head = self._in(key).head(key.name)
        if head is None:
            raise self._missing()
        return int(head['ContentLength'])

    def delete(self, key: Object) -> None:
        bucket = self._in(key)
        head = bucket.head(key.name)
        claimed = head is not None and CLAIM in head['Metadata']
        aborted = 0
        if (head is None or claimed) and bucket is self._bucket:
            for upload in self._uploads(key.name):
                if upload['Key'] == key.name:
                    with contextlib.suppress(ObjectNotFound):
                        bucket.ask(
                            'abort_multipart_upload', Key=key.name, UploadId=upload['UploadId']
                        )
                    aborted += 1
        if head is not None:
            bucket.ask('delete_object', Key=key.name)
        elif not aborted:
            raise self._missing()

    def _uploads(self, prefix: str = '') -> Iterator[Mapping[str, Any]]:
        """Those that are not complete."""
        for page in self._pages('list_multipart_uploads', Prefix=prefix):
            yield from page.get('Uploads', ())

    def _pages(self, verb: str, **parameters: Any) -> Iterator[Mapping[str, Any]]:
        try:
            yield from self._bucket.pages(verb, **parameters)
        except NoBucket:
            self.check()

    def list(self) -> Iterator[tuple[str, int, float]]:
        """Objects, and the names of uploads that are not complete, as if they were empty ones."""
        begun = {upload['Key']: upload['Initiated'] for upload in self._uploads()}
        for page in self._pages('list_objects_v2'):
            for entry in page.get('Contents', ()):
                key = entry['Key']
                begun.pop(key, None)
                if _KEY.fullmatch(key):
                    yield self._url(key), entry['Size'], entry['LastModified'].timestamp()
        for key, when in begun.items():
            if _KEY.fullmatch(key):
                yield self._url(key), 0, when.timestamp()

    # --- for people

    def describe(self) -> Mapping[str, Any]:
        names = ('large_object_size', 'large_object_chunk_size', 'thread_pools')
        return {f's3_store_{name}': self.settings[f's3_store_{name}'] for name in names}

    def check(self) -> None:
        try:
            self._bucket.check()
        except NoBucket:
            # The next upload makes it; until then there is nothing to read.
            if not self.settings['s3_store_create_bucket_on_put']:
                raise


@dataclasses.dataclass
class _Attempt:
    """An upload, and what it has made so far."""

    name: str
    token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    #: whether there may be an object of it
    begun: bool = False
    #: what requests about its parts carry
    upload: dict[str, str] = dataclasses.field(default_factory=dict)
