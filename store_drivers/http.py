# SPDX-License-Identifier: Apache-2.0
"""Images that lie on web servers: read-only, by urls that users or other services register.

Whatever server a url names, it is reached through the service's guarded client only.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Iterator, Mapping

from oslo_config import cfg

from glance_lite import guarded
from glance_lite.store import (
    BadStoreConfiguration,
    BadStoreUri,
    Cap,
    ObjectNotFound,
    Source,
    StoreDenied,
    StoreDriver,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
)
from store_drivers.answers import Body, asked

_RANGE = re.compile(r'bytes (\d{1,18})-(\d{1,18})/(?:(\d{1,18})|\*)')


class HttpStore(StoreDriver):
    """Reads over HTTP and HTTPS. Takes no data, and removes none."""

    schemes = ('http', 'https')
    caps = Cap.NONE
    io = 'socket'
    shares_fate = False
    opts = [
        cfg.StrOpt(
            'https_ca_certificates_file',
            help='Certificates of authorities that https servers are verified with, as PEM. Those '
            'of the system if it is not set.',
        ),
        cfg.BoolOpt(
            'https_insecure',
            default=False,
            help='Do not verify https servers. It does nothing where https_ca_certificates_file is '
            'set.',
        ),
        cfg.DictOpt(
            'http_proxy_information',
            default={},
            help='Proxies as scheme:proxy pairs, for example http:10.0.0.1:3128. A proxy resolves '
            'names itself, so it must be one that reaches no private address.',
        ),
    ]

    def start(self) -> None:
        self._guard = self.guard or guarded.Guard()
        self._proxies: Mapping[str, str] = self.settings['http_proxy_information'] or {}
        file = self.settings['https_ca_certificates_file']
        try:
            self._tls = ssl.create_default_context(cafile=file or None)
        except (OSError, ssl.SSLError) as ex:
            raise BadStoreConfiguration(
                f'[{self.name}] https_ca_certificates_file: {file} cannot be read: {ex}'
            ) from ex
        if self.settings['https_insecure'] and not file:
            self._tls.check_hostname = False
            self._tls.verify_mode = ssl.CERT_NONE
        for scheme in self._proxies:
            if scheme not in self.schemes:
                raise BadStoreConfiguration(
                    f'[{self.name}] http_proxy_information: {scheme} is neither http nor https'
                )

    def parse(self, url: str) -> str:
        try:
            target = guarded.split(url)
        except guarded.UrlRefused as ex:
            raise BadStoreUri(ex.message) from None
        if target.scheme not in self.schemes:
            raise BadStoreUri('The url is neither http nor https')
        return url

    def redact(self, url: str) -> str:
        return guarded.redact(url)

    def add(self, name: str, source: Source, size: int | None) -> str:
        raise StoreReadOnly(f'Store {self.name} takes no data')

    def delete(self, key: str) -> None:
        raise StoreReadOnly(f'Store {self.name} removes no data')

    # --- out

    def get(self, key: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        answer = self._ask('GET', key, asked(offset, length))
        skip = offset
        if answer.status == 206:
            found = _RANGE.fullmatch(answer.headers.get('content-range', ''))
            if found is None or int(found[1]) != offset:
                answer.close()
                raise StoreUnavailable('The server of the url sent another range than it was asked')
            skip = 0
        chunks = answer.chunks(self.chunk_size)
        return Body(chunks, answer.close, (guarded.FetchFailed,), _failed, skip, length)

    def size(self, key: str) -> int:
        with contextlib.closing(self._ask('HEAD', key, {}, (403, 405, 501))) as answer:
            if answer.status == 200 and answer.length is not None:
                return answer.length
        # It answers no HEAD, or not with a length: the first byte tells as well.
        with contextlib.closing(self._ask('GET', key, {'Range': 'bytes=0-0'}, (416,))) as answer:
            if answer.status == 206:
                found = _RANGE.fullmatch(answer.headers.get('content-range', ''))
                size = found and found[3]
                if size is not None:
                    return int(size)
            elif answer.status == 200 and answer.length is not None:
                return answer.length
        raise StoreError('The server of the url does not say how long the data is')

    def _ask(
        self, method: str, url: str, headers: Mapping[str, str], also: tuple[int, ...] = ()
    ) -> guarded.Response:
        """An answer that is a success, or has one of the statuses in `also`."""
        try:
            answer = self._guard.open(method, url, headers, self._tls, self._proxies)
        except guarded.UrlRefused as ex:
            raise BadStoreUri(ex.message) from None
        except guarded.FetchFailed as ex:
            raise _failed(ex) from None
        status = answer.status
        if status in (200, 206, *also):
            return answer
        answer.close()
        if status in (404, 410):
            raise ObjectNotFound('There is nothing at the url')
        if status in (401, 403, 407):
            raise StoreDenied('The server of the url does not let us read')
        raise StoreUnavailable(f'The server of the url answered with status {status}')


def _failed(ex: BaseException) -> StoreUnavailable:
    assert isinstance(ex, guarded.FetchFailed)
    return StoreUnavailable(ex.message)
