# SPDX-License-Identifier: Apache-2.0
"""An Image service, spoken to over v2. What it answers is checked; nobody is redirected."""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import urllib3
from keystoneauth1 import exceptions
from requests import Response

from glance_lite.replication.access import Access
from glance_lite.replication.record import CARRIED, Record, ReplicationError, parse, shown

#: Bytes of the largest answer that is no data of an image, and of the largest refusal.
LARGEST, LARGEST_REFUSAL = 64 * 2**20, 64 * 2**10
#: Images of one page, and pages that are read.
PAGE, PAGES = 100, 100_000
PATCH = 'application/openstack-images-v2.1-json-patch'
#: How often it is asked again after a cut without having got anything, and the first pause.
TRIES, PAUSE = 4, 0.5
#: Answers of a service that may do better the next time.
PASSING = frozenset({408, 429, 500, 502, 503, 504})


class Refused(ReplicationError):
    """The service has answered with another status than was asked for."""

    def __init__(self, status: int, what: str, reason: str) -> None:
        super().__init__(f'{what}: {status} {reason}'.rstrip())
        self.status = status


class Broken(ReplicationError):
    """The connection failed, or the service cannot answer now: the next try may succeed."""


class Body:
    """Chunks of a known length, as the HTTP client takes them."""

    def __init__(self, chunks: Iterable[bytes], size: int) -> None:
        self._chunks = chunks
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)


class Peer:
    """One service. May be used by several threads."""

    def __init__(self, access: Access, chunk: int) -> None:
        """`chunk` bytes of data at a time."""
        self._session = access.session
        self._headers = dict(access.headers)
        self._chunk = chunk
        self.url = access.url

    # --- images

    def records(self, filters: Sequence[tuple[str, str]]) -> Iterator[Record | ReplicationError]:
        """All images that match; in place of one that makes no sense, what is wrong with it."""
        named = {name for name, _ in filters}
        more = [('visibility', 'all')] if 'visibility' not in named else []
        hidden = ('false', 'true') if 'os_hidden' not in named else (None,)
        for value in hidden:
            own = [('os_hidden', value)] if value else []
            yield from self._listed([('limit', str(PAGE)), *filters, *more, *own])

    def _listed(self, query: list[tuple[str, str]]) -> Iterator[Record | ReplicationError]:
        seen: set[str] = set()
        for _ in range(PAGES):
            answer = self._json('GET', '/images', params=query)
            images, following = answer.get('images'), answer.get('next')
            if not isinstance(images, list) or not isinstance(following, (str, type(None))):
                raise ReplicationError(f'{self.url}: what it lists is no list of images')
            found = [_checked(image) for image in images]
            ids = {record.id for record in found if isinstance(record, Record)}
            # A list that comes round again has no end.
            if ids & seen:
                raise ReplicationError(f'{self.url}: an image is listed twice')
            seen |= ids
            yield from found
            if not following or not images:
                return
            # Only its query is taken: the next page is at the same place.
            query = parse_qsl(urlsplit(following).query)
        raise ReplicationError(f'{self.url}: the list has no end')

    def show(self, image_id: str) -> Record | None:
        """The image; None: there is none, or it may not be seen."""
        try:
            record = parse(self._json('GET', f'/images/{image_id}'))
        except Refused as ex:
            if ex.status == 404:
                return None
            raise
        if record.id != image_id:
            raise ReplicationError(f'{image_id}: asked for it, {self.url} tells of another image')
        return record

    def create(self, image_id: str, values: Mapping[str, Any]) -> None:
        """Make the image; it is queued then."""
        self._json('POST', '/images', expected=(201,), json={'id': image_id, **values})

    def update(self, image_id: str, changes: Mapping[str, tuple[Any, Any]]) -> None:
        """Give attributes and properties other values. `changes`: name -> what is, what shall be.

        None stands for what is not there.
        """
        steps: list[dict[str, Any]] = []
        for name, (old, new) in changes.items():
            path = '/' + name.replace('~', '~0').replace('/', '~1')
            if new is None and name not in CARRIED:
                steps.append({'op': 'remove', 'path': path})
            else:
                step = 'add' if old is None and name not in CARRIED else 'replace'
                steps.append({'op': step, 'path': path, 'value': new})
        if steps:
            self._json(
                'PATCH',
                f'/images/{image_id}',
                data=json.dumps(steps),
                headers={'Content-Type': PATCH},
            )

    def delete(self, image_id: str) -> None:
        self._call('DELETE', f'/images/{image_id}', expected=(204, 404)).close()

    # --- data

    def upload(self, image_id: str, chunks: Iterable[bytes], size: int) -> None:
        """Give an image that is queued its data."""
        self._call(
            'PUT',
            f'/images/{image_id}/file',
            expected=(204,),
            headers={'Content-Type': 'application/octet-stream'},
            data=Body(chunks, size),
            # The chunks can be had once only.
            allow_reauth=False,
        ).close()

    def read(self, record: Record, offset: int = 0) -> Iterator[bytes]:
        """The data from `offset` on; where it breaks off it goes on. `Broken`, `Refused`."""
        fruitless = 0
        while record.size is None or offset < record.size or offset == 0:
            before = offset
            try:
                for chunk in self._from(record, offset):
                    offset += len(chunk)
                    yield chunk
                return
            except Broken:
                fruitless = 0 if offset > before else fruitless + 1
                if fruitless >= TRIES:
                    raise
                time.sleep(PAUSE * 2**fruitless)

    def _from(self, record: Record, offset: int) -> Iterator[bytes]:
        headers = {'Accept-Encoding': 'identity', 'Accept': 'application/octet-stream'}
        if offset:
            headers['Range'] = f'bytes={offset}-'
        response = self._call(
            'GET', f'/images/{record.id}/file', expected=(200, 204, 206), headers=headers
        )
        try:
            skip = 0
            if offset and response.status_code == 206:
                said = response.headers.get('Content-Range', '')
                if not re.match(rf'bytes {offset}-\d+/', said):
                    raise ReplicationError(f'{record.id}: asked for {offset}-, {shown(said)} came')
            elif response.status_code == 206:
                raise ReplicationError(f'{record.id}: asked for all of it, a part came')
            else:
                skip = offset
            for chunk in response.raw.stream(self._chunk, decode_content=False):
                if skip < len(chunk):
                    yield chunk[skip:]
                skip = max(0, skip - len(chunk))
        except (urllib3.exceptions.HTTPError, OSError) as ex:
            raise Broken(f'{record.id}: the data broke off: {shown(ex)}') from None
        finally:
            response.close()

    # --- HTTP

    def _json(
        self, method: str, path: str, expected: tuple[int, ...] = (200,), **more: Any
    ) -> dict[str, Any]:
        tries = TRIES if method == 'GET' else 1
        for fruitless in range(1, tries + 1):
            try:
                body = _body(self._call(method, path, expected, **more), LARGEST)
                break
            except Broken:
                if fruitless == tries:
                    raise
                time.sleep(PAUSE * 2**fruitless)
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise ReplicationError(f'{self.url}{path}: the answer is no JSON') from None
        if not isinstance(document, dict):
            raise ReplicationError(f'{self.url}{path}: the answer is no JSON object')
        return document

    def _call(
        self,
        method: str,
        path: str,
        expected: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Response:
        what = f'{method} {self.url}{quote(path)}'
        try:
            response: Response = self._session.request(
                self.url + path,
                method,
                headers={'Connection': 'close', **self._headers, **(headers or {})},
                raise_exc=False,
                stream=True,
                log=False,
                redirect=False,
                **more,
            )
        except (exceptions.ConnectFailure, exceptions.RetriableConnectionFailure) as ex:
            raise Broken(f'{what}: {shown(ex)}') from None
        except exceptions.ClientException as ex:
            raise ReplicationError(f'{what}: {shown(ex)}') from None
        if response.status_code in expected:
            return response
        reason = _reason(_body(response, LARGEST_REFUSAL, cut=True))
        if response.status_code in PASSING:
            raise Broken(f'{what}: {response.status_code} {reason}'.rstrip())
        raise Refused(response.status_code, what, reason)


def _checked(image: object) -> Record | ReplicationError:
    try:
        return parse(image)
    except ReplicationError as ex:
        return ex


def _body(response: Response, most: int, cut: bool = False) -> bytes:
    """What the answer carries, decoded; `cut` if it is longer, or else `ReplicationError`."""
    found = bytearray()
    try:
        for chunk in response.iter_content(65536):
            found += chunk
            if len(found) > most:
                if cut:
                    break
                raise ReplicationError(f'an answer of more than {most} bytes')
    except OSError as ex:  # all errors of requests are
        raise Broken(f'an answer broke off: {shown(ex)}') from None
    finally:
        response.close()
    return bytes(found[:most])


def _reason(body: bytes) -> str:
    """What a refusal says, without its markup."""
    text = re.sub(r'(?s)<head>.*?</head>|<h1>.*?</h1>|<[^>]*>', ' ', body.decode(errors='replace'))
    return shown(' '.join(html.unescape(text).split()), 500)


Told = Callable[[int], None]
