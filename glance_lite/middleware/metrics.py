# SPDX-License-Identifier: Apache-2.0
"""Counts requests, operations and stores, and answers Prometheus with the numbers of all workers.

The filter stands before all others of a pipeline. Without it nothing is counted, and neither a
request nor the chain has anything to do with it.
"""

from __future__ import annotations

import importlib.metadata
import ipaddress
import logging
import pathlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import webob
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from glance_lite.errors import ConfigurationError, GlanceLiteError
from glance_lite.metrics import HISTOGRAM, RUNNING, SUMMARY, Meter, Sampled, Tally, family
from glance_lite.middleware.access_log import Counted
from glance_lite.middleware.context import PROXIED

if TYPE_CHECKING:
    from glance_lite.layer import Metric
    from glance_lite.service import Service

LOG = logging.getLogger(__name__)

App = Callable[..., Iterable[bytes]]
Environ = dict[str, Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

VERSION = importlib.metadata.version('glance-lite')

LOOPBACK = '127.0.0.0/8 ::1/128'

#: Any other is a word that a client has made up.
METHODS = frozenset({'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'})

#: What answered, where no route of the API did: documents of versions, and what was refused before.
NO_ROUTE = 'none'

BY_ROUTE = ('method', 'route')
REQUESTS = Meter('glance_lite_requests', 'Requests that were answered.', (*BY_ROUTE, 'status'))
SECONDS = Meter(
    'glance_lite_request_duration_seconds',
    'Seconds from the head of a request to the last byte of its answer.',
    BY_ROUTE,
    HISTOGRAM,
)
IN_PROGRESS = Meter(
    'glance_lite_requests_in_progress', 'Requests that are being answered.', (), RUNNING
)
RECEIVED = Meter(
    'glance_lite_received_bytes', 'Bytes of the bodies of requests that were read.', BY_ROUTE
)
SENT = Meter('glance_lite_sent_bytes', 'Bytes of the bodies of answers that went out.', BY_ROUTE)
OPERATIONS = Meter(
    'glance_lite_operation_duration_seconds',
    'Seconds that operations of the chain took, from the outermost layer to the last.',
    ('operation',),
    SUMMARY,
)
ERRORS = Meter(
    'glance_lite_operation_errors',
    'Operations of the chain that ended with an error, refusals included.',
    ('operation', 'error'),
)
BY_STORE = ('store',)
STORED = Meter('glance_lite_store_written_bytes', 'Bytes of uploads that a store took.', BY_STORE)
GIVEN = Meter('glance_lite_store_read_bytes', 'Bytes from a store that went out.', BY_STORE)
FAILED = Meter(
    'glance_lite_store_errors',
    'Times that a store failed; not that it lacked what it was asked for.',
    BY_STORE,
)

LEFT_ALONE = Meter(
    'glance_lite_store_breakers_open', 'Processes that leave a store alone.', BY_STORE, RUNNING
)
OPENED = Meter(
    'glance_lite_store_breaker_openings',
    'Times that a process began to leave a store alone.',
    BY_STORE,
)


CACHE_GIVEN = Meter(
    'glance_lite_cache_read_bytes', 'Bytes from the cache of image data that went out.', ()
)
LOOKED_UP = Meter(
    'glance_lite_cache_lookups',
    'Downloads by whether the cache had the data, or was just getting it for somebody else.',
    ('result',),
)


class Watched:
    """A request under way. Further in, the router says which route it is."""

    def __init__(self, tally: Tally, method: str) -> None:
        self._tally = tally
        self._begun = time.monotonic()
        self._method = method if method in METHODS else 'other'
        self.route: str | None = None
        self.status = '500'
        #: bytes that were read of its body
        self.received = 0
        tally.add(IN_PROGRESS, ())

    def write(self, count: int) -> None:
        """It is over, and so many bytes went out."""
        route = NO_ROUTE if self.route is None else f'/v2{self.route}'
        tally, labels = self._tally, (self._method, route)
        tally.add(IN_PROGRESS, (), -1)
        tally.add(REQUESTS, (*labels, f'{self.status[:1]}xx'))
        tally.observe(SECONDS, labels, time.monotonic() - self._begun)
        if count:
            tally.add(SENT, labels, count)
        if self.received:
            tally.add(RECEIVED, labels, self.received)


class Body:
    """A request's body that counts what is read of it; all else it leaves to the server's own."""

    def __init__(self, stream: Any, watched: Watched) -> None:
        self._stream = stream
        self._watched = watched
        if hasattr(stream, 'readinto'):
            self.readinto = self._readinto

    def read(self, *size: int) -> bytes:
        chunk: bytes = self._stream.read(*size)
        self._watched.received += len(chunk)
        return chunk

    def _readinto(self, view: memoryview) -> int:
        count: int = self._stream.readinto(view)
        self._watched.received += count
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class StoreTally:
    """Counts what the stores do."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def stored(self, store_id: str, count: int) -> None:
        self._tally.add(STORED, (store_id,), count)

    def given(self, store_id: str, count: int) -> None:
        self._tally.add(GIVEN, (store_id,), count)

    def given_from_cache(self, count: int) -> None:
        self._tally.add(CACHE_GIVEN, (), count)

    def looked_up(self, hit: bool) -> None:
        self._tally.add(LOOKED_UP, ('hit' if hit else 'miss',))

    def failed(self, store_id: str) -> None:
        self._tally.add(FAILED, (store_id,))

    def left_alone(self, store_id: str, begins: bool) -> None:
        self._tally.add(LEFT_ALONE, (store_id,), 1 if begins else -1)
        if begins:
            self._tally.add(OPENED, (store_id,))


class Metrics:
    """The filter."""

    def __init__(
        self,
        app: App,
        service: Service,
        tally: Tally,
        path: str,
        networks: tuple[Network, ...],
    ) -> None:
        self._app = app
        self._service = service
        self._tally = tally
        self._path = path
        self._networks = networks
        if service.gateway.watch.by is None:  # or it stands in two pipelines
            service.gateway.watch.by = StoreTally(tally)
            service.chain.watch(self._around)

    def _around(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        tally, labels = self._tally, (name,)

        def counted(*args: Any, **kwargs: Any) -> Any:
            begun = time.monotonic()
            try:
                return method(*args, **kwargs)
            except Exception as ex:
                # Names of classes are few; those of others' libraries could be any number.
                error = type(ex).__name__ if isinstance(ex, GlanceLiteError) else 'other'
                tally.add(ERRORS, (name, error))
                raise
            finally:
                tally.observe(OPERATIONS, labels, time.monotonic() - begun)

        return counted

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = environ['REQUEST_METHOD']
        if (
            environ.get('PATH_INFO') == self._path
            and method in ('GET', 'HEAD')
            and self._admits(environ)
        ):
            return self._page(environ)(environ, start_response)  # type: ignore[no-any-return]
        watched = environ['glance_lite.watched'] = Watched(self._tally, method)
        if method not in ('GET', 'HEAD'):
            environ['wsgi.input'] = Body(environ['wsgi.input'], watched)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            watched.status = status
            return start_response(status, headers, *rest)

        try:
            answer = self._app(environ, start)
        except BaseException:
            watched.status = '500'
            watched.write(0)
            raise
        return Counted(answer, watched)

    def _admits(self, environ: Environ) -> bool:
        """Whether it is told: to the networks of the option, and to nobody behind a proxy.

        Tenants come through it, and it may well be on this machine.
        """
        if not PROXIED.isdisjoint(environ):
            return False
        try:
            address = ipaddress.ip_address(environ.get('REMOTE_ADDR', ''))
        except ValueError:
            return False
        mapped = getattr(address, 'ipv4_mapped', None)
        return any((mapped or address) in network for network in self._networks)

    # --- answering

    def _page(self, environ: Environ) -> webob.Response:
        registry = CollectorRegistry()
        registry.register(self._tally)
        registry.register(Sampled(list(self._looked_up())))
        encode, kind = choose_encoder(environ.get('HTTP_ACCEPT', ''))
        body = encode(registry)
        headers = [
            ('Content-Type', kind),
            ('Content-Length', str(len(body))),
            ('Cache-Control', 'no-store'),
        ]
        return webob.Response(status=200, headerlist=headers, app_iter=[body])

    def _looked_up(self) -> Iterator[Any]:
        """What each layer knows of the whole service."""
        version = {'version': VERSION}
        yield family('glance_lite_info', 'The version of the service.', [(version, 1.0)])
        asked: list[tuple[dict[str, str], float]] = []
        found: dict[str, list[Metric]] = defaultdict(list)
        for layer in self._service.layers:
            if not layer.acts():
                continue
            try:
                metrics = list(layer.metrics())
            except Exception as ex:
                LOG.error('The metrics of layer %s cannot be had: %s', layer.name, ex)
                metrics = []
                asked.append(({'layer': layer.name}, 0.0))
            else:
                asked.append(({'layer': layer.name}, 1.0))
            for metric in metrics:
                found[metric.name].append(metric)
        text = 'Whether a layer could say what it knows.'
        yield family('glance_lite_layer_answers', text, asked)
        for name, metrics in found.items():
            samples = [(dict(one.labels), float(one.value)) for one in metrics]
            yield family(name, metrics[0].help, samples)


def factory(
    service: Service,
    global_conf: Mapping[str, str],
    directory: str | None = None,
    path: str = '/metrics',
    allowed_networks: str = LOOPBACK,
    **local_conf: str,
) -> Callable[[App], Metrics]:
    """For Paste: ``paste.filter_factory``. Raises `ConfigurationError`."""
    section = 'the Paste filter metrics'
    if local_conf:
        raise ConfigurationError(f'{section} has no option {", ".join(sorted(local_conf))}')
    if not directory:
        raise ConfigurationError(
            f'{section} needs the option directory, of a directory for this service alone in which '
            f'its workers keep what they count'
        )
    if not path.startswith('/') or path == '/':
        raise ConfigurationError(f'{section}, option path: {path!r} is not a path like /metrics')
    networks = tuple(_network(section, word) for word in allowed_networks.replace(',', ' ').split())
    tally = Tally(pathlib.Path(directory))
    return lambda app: Metrics(app, service, tally, path, networks)


def _network(section: str, text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigurationError(
            f'{section}, option allowed_networks: {text!r} is not a network such as 10.0.0.0/8'
        ) from None
