# SPDX-License-Identifier: Apache-2.0
"""Drivers of the library glance_store, unchanged: ``enabled_backends = old:glance_store+NAME``.

NAME is an entry point in ``glance_store.drivers``, of the library itself or of anybody else. It
need not be a url scheme, as it must for Glance. The driver gets what Glance would give it: the
configuration, the id of its store, a context, its scheme in the library's register. What it lacks
is made good here: ranges, cleaning up after what failed, and an end to writing over what is there.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import logging
import os
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from oslo_config import cfg
from oslo_context.context import RequestContext

from glance_lite.store import (
    BadStoreConfiguration,
    BadStoreUri,
    Cap,
    InUse,
    ObjectExists,
    ObjectNotFound,
    Source,
    StoreDenied,
    StoreDriver,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from store_drivers.answers import Body

LOG = logging.getLogger(__name__)

DRIVERS = 'glance_store.drivers'
INSTALL = 'pip install glance-lite[glance_store]'

#: Options that every store has here, whatever its driver.
COMMON = frozenset({'store_description', 'weight'})

#: The hash that the driver is to compute beside MD5, which nobody looks at: it costs least.
UNUSED = 'md5'

#: Name of an error of the library -> what it is here, and what it says of a store.
ERRORS: dict[str, tuple[type[StoreError], str]] = {
    'NotFound': (ObjectNotFound, 'does not hold the data'),
    'Duplicate': (ObjectExists, 'holds something under that name already'),
    'StorageFull': (StoreFull, 'is full'),
    'StorageWriteDenied': (StoreDenied, 'cannot be written to'),
    'Forbidden': (StoreDenied, 'does not allow this'),
    'NotAuthenticated': (StoreDenied, 'does not accept the credentials'),
    'AuthorizationFailure': (StoreDenied, 'does not accept the credentials'),
    'MissingCredentialError': (StoreDenied, 'lacks credentials'),
    'StoreAddDisabled': (StoreReadOnly, 'takes no data'),
    'StoreDeleteNotSupported': (StoreReadOnly, 'removes no data'),
    'HasSnapshot': (InUse, 'needs the data for a snapshot'),
    'InUseByStore': (InUse, 'needs the data'),
    'BadStoreUri': (BadStoreUri, 'cannot make sense of the url'),
    'UnknownScheme': (BadStoreUri, 'cannot make sense of the url'),
}


class GlanceStore(StoreDriver):
    """A driver of glance_store, behind this service's gateway."""

    caps = Cap.WRITE
    io = 'native'
    needs = INSTALL
    #: the class of the driver inside; None in the class that no store has
    inner: ClassVar[Any] = None
    #: its entry point
    entry: ClassVar[str] = ''

    @classmethod
    def variant(cls, name: str) -> type[StoreDriver]:
        inner = _load(name)
        writes = int(getattr(inner, '_CAPABILITIES', 0)) & _bits().WRITE_ACCESS
        try:
            # They are known without a configuration, as a rule.
            schemes = tuple(object.__new__(inner).get_schemes())
        except Exception as ex:
            raise BadStoreConfiguration(
                f'{name} in {DRIVERS} does not say which urls are its own: {type(ex).__name__}'
            ) from ex
        values = {
            'inner': inner,
            'entry': name,
            'opts': [opt for opt in _options(inner) if opt.dest not in COMMON],
            'caps': Cap.WRITE if writes else Cap.NONE,
            'schemes': schemes,
            'private_schemes': schemes,
            'chunk_size': max(64 * 1024, int(getattr(inner, 'READ_CHUNKSIZE', 0))),
        }
        return type('GlanceStore', (cls,), values)

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        if self.inner is None:
            raise BadStoreConfiguration(
                f'[{name}] the type glance_store is written with the name of a driver in '
                f'{DRIVERS}, for example glance_store+swift'
            )
        self._driver: Any = None
        #: names that are being written just now
        self._writing: dict[str, object] = {}
        #: what stands before and after the name in the driver's urls; None: not known yet; empty:
        #: there is no name in them
        self._around: tuple[str, ...] | None = None
        self._context = RequestContext(is_admin=True, overwrite=False)
        self._context.service_catalog = None

    # --- start

    def start(self) -> None:
        self._errors = _library('exceptions')
        self._locations = _library('location')
        conf = self.conf or _alone(self.name, self.settings, self.opts)
        group = self.name if conf.enabled_backends else None
        conf.register_opts(self.opts, group='backend_defaults')
        self._conf, self._group = conf, group
        self._driver = self._new_driver()
        schemes = tuple(self._driver.get_schemes())
        self._classes = dict.fromkeys(schemes, self._driver.get_store_location_class())
        self._register(schemes)
        self.__dict__.update(schemes=schemes, private_schemes=schemes)
        if not self._driver.is_capable(_bits().WRITE_ACCESS):
            self.__dict__['caps'] = Cap.NONE

    def _new_driver(self) -> Any:
        """A driver that is ready. `BadStoreConfiguration`."""
        try:
            made = self.inner(self._conf, backend=self._group)
            made.configure(re_raise_bsc=True)
        except self._errors.BadStoreConfiguration as ex:
            reason = self._without_secrets(' '.join(str(ex).split()))
            raise BadStoreConfiguration(f'[{self.name}] {self.entry}: {reason}') from None
        return made

    def _without_secrets(self, text: str) -> str:
        for opt in self.opts:
            value = self.settings.get(opt.dest)
            if opt.secret and value:
                text = text.replace(str(value), '***')
        return text

    def _register(self, schemes: tuple[str, ...]) -> None:
        """Where drivers look for each other, and for what a url means."""
        found = {
            'store': self._driver,
            'location_class': self._classes[schemes[0]],
            'store_entry': self.entry,
        }
        if self._group is None:
            self._locations.register_scheme_map(dict.fromkeys(schemes, found))
        else:
            self._locations.register_scheme_backend_map(
                {scheme: {self.name: found} for scheme in schemes}
            )

    def _inside(self) -> Any:
        """The driver, or a new one where it says that it cannot be used twice."""
        if self._driver.is_capable(_bits().DRIVER_REUSABLE):
            return self._driver
        return self._new_driver()

    # --- urls

    def parse(self, url: str) -> str:
        """The url itself, when the driver makes sense of it."""
        try:
            parts = urlsplit(url)
        except ValueError as ex:
            raise BadStoreUri(f'Not a url of store {self.name}') from ex
        if (
            parts.scheme not in self._classes
            or len(url) > 4096
            or not url.isprintable()
            or {'.', '..'} & set(url.split('/'))
            or not (parts.netloc + parts.path).strip('/')
            or (parts.scheme in ('file', 'filesystem') and not self._is_in_directory(parts.path))
        ):
            raise BadStoreUri(f'Not a url of store {self.name}')
        try:
            self._location(url)
        except Exception as ex:
            # Whatever a driver makes of a url that is none of its own.
            raise BadStoreUri(f'Not a url of store {self.name}') from ex
        return url

    def _location(self, url: str) -> Any:
        scheme = url.partition(':')[0]
        return self._locations.Location(
            scheme, self._classes[scheme], self._conf, uri=url, backend=self._group
        )

    def _is_in_directory(self, path: str) -> bool:
        """Or the whole disk could be read through a url."""
        several = self.settings.get('filesystem_store_datadirs') or ()
        directories = [entry.rpartition(':')[0] or entry for entry in several]
        directories.append(self.settings.get('filesystem_store_datadir') or '')
        parent = os.path.dirname(os.path.realpath(path))
        return parent in {os.path.realpath(one) for one in directories if one}

    def redact(self, url: str) -> str:
        """Without what stands before an @: drivers write keys there."""
        scheme, sign, rest = url.partition('://')
        host, at, behind = rest.rpartition('@')
        return f'{scheme}{sign}{"***" if host else ""}{at}{behind}'

    def locate(self, name: str) -> tuple[str, ...]:
        """The contract's, but for the first call, which stores a byte and removes it.

        A driver tells a url only of what it has stored; the library's ``url_prefix`` is not set by
        all, and is the whole of what stands around a name for some only. `StoreError`.
        """
        if Cap.WRITE not in self.caps or self._driver is None:
            return ()
        if self._around is None:
            # Several may find out at once. A lock of `threading`, where that is patched, is for
            # green threads, and these are native.
            self._around = self._try_out()
        return (name.join(self._around),) if self._around else ()

    def _try_out(self) -> tuple[str, ...]:
        """What stands around the name of something that is stored. `StoreError`."""
        name = str(uuid.uuid4())
        url = self._store(self._inside(), name, io.BytesIO(b'-'), 1)
        try:
            self.delete(self.parse(url))
        except StoreError as ex:
            LOG.warning('Store %s: a trial, %s, cannot be removed: %s', self.name, name, ex)
        before, found, behind = url.partition(name)
        if not found or name in behind:
            LOG.warning(
                'Store %s: the urls of its driver have names of their own in them; what it leaves '
                'of an upload that failed cannot be found',
                self.name,
            )
            return ()
        return before, behind

    # --- in

    def add(self, name: str, source: Source, size: int | None) -> str:
        if Cap.WRITE not in self.caps:
            raise StoreReadOnly(f'Store {self.name} takes no data')
        mine = object()
        if self._writing.setdefault(name, mine) is not mine:
            raise ObjectExists(f'Store {self.name} is just being given {name}')
        try:
            # Not every driver looks, and what is there must not be taken for what failed.
            if any(self._holds(url) for url in self.locate(name)):
                raise ObjectExists(f'Store {self.name} holds {name} already')
            return self._add(name, Reader(source, size), size)
        finally:
            self._writing.pop(name, None)

    def _add(self, name: str, reader: Reader, size: int | None) -> str:
        inside = self._inside()
        try:
            url = self._store(inside, name, reader, size)
            if size is not None and reader.count != size:
                raise StoreError(f'Store {self.name} did not read all of the data')
        except BaseException as ex:
            if not isinstance(ex, ObjectExists):
                self._clean(name)
            if reader.error is not None:
                raise reader.error from None
            raise
        return url

    def _store(self, inside: Any, name: str, source: Any, size: int | None) -> str:
        """Have the driver store; its url."""
        with self._mapped():
            # Nought is how the library says that a size is not known.
            return str(inside.add(name, source, size or 0, UNUSED, context=self._context)[0])

    def _holds(self, url: str) -> bool:
        try:
            self.size(self.parse(url))
        except StoreError:
            return False
        return True

    def _clean(self, name: str) -> None:
        """Remove what a driver has left of something that failed."""
        for url in self.locate(name):
            with contextlib.suppress(StoreError):
                self.delete(self.parse(url))
                LOG.info('Store %s had kept a part of what failed; it is removed', self.name)

    # --- out

    def get(self, key: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        inside, bits = self._inside(), _bits()
        asked: dict[str, int] = {}
        if length is not None and length > 0 and inside.is_capable(bits.READ_RANDOM):
            asked = {'offset': offset, 'chunk_size': length}
        elif offset and inside.is_capable(bits.READ_OFFSET):
            asked = {'offset': offset}
        with self._mapped():
            chunks, _ = inside.get(self._location(key), context=self._context, **asked)
        return self._body(chunks, 0 if asked else offset, length)

    def size(self, key: str) -> int:
        with self._mapped():
            size = int(self._inside().get_size(self._location(key), context=self._context) or 0)
        if not size:
            # Some say so of what is not there.
            self._body(self._open(key)).close()
        return size

    def _body(self, found: Any, skip: int = 0, length: int | None = None) -> Body:
        """What a driver gave, without the first `skip` bytes, and at most `length` of them."""
        chunks = iter(found)

        def close() -> None:
            for one in (chunks, found):
                close_one = getattr(one, 'close', None)
                if close_one is not None:
                    with contextlib.suppress(Exception):
                        close_one()

        return Body(map(bytes, chunks), close, (Exception,), self.error, skip, length)

    def _open(self, key: str) -> Any:
        with self._mapped():
            return self._inside().get(self._location(key), context=self._context)[0]

    def delete(self, key: str) -> None:
        if Cap.WRITE not in self.caps:
            raise StoreReadOnly(f'Store {self.name} removes no data')
        self.size(key)  # not every driver says that there was nothing
        with self._mapped():
            self._inside().delete(self._location(key), context=self._context)

    def describe(self) -> Mapping[str, Any]:
        return {'driver': f'{self.entry} of {DRIVERS}'}

    # --- what goes wrong

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        """What the driver raises becomes an error of this contract, with no text of its own."""
        try:
            yield
        except StoreError:
            raise
        except Exception as ex:
            raise self.error(ex) from None

    def error(self, ex: BaseException) -> StoreError:
        for name, (kind, said) in ERRORS.items():
            if isinstance(ex, getattr(self._errors, name, ())):
                return kind(f'Store {self.name} {said}')
        LOG.warning('Store %s: its driver failed with %s', self.name, type(ex).__name__)
        return StoreUnavailable(f'Store {self.name} failed')


class Reader:
    """What a driver reads from: like a file, and it ends where the data should."""

    def __init__(self, source: Source, size: int | None) -> None:
        self._source = source
        self._size = size
        #: bytes so far
        self.count = 0
        #: what the source has failed with, whatever the driver has made of it
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        if size is None or size < 0:
            return b''.join(iter(lambda: self.read(1 << 20), b''))
        if self._size is not None:
            size = min(size, self._size - self.count)
        if not size:
            return b''
        if self.error is not None:
            raise self.error
        try:
            chunk = bytes(self._source.read(size))
        except BaseException as ex:
            self.error = ex
            raise
        self.count += len(chunk)
        return chunk


# --- the library


def _library(module: str) -> Any:
    """A module of the library. `BadStoreConfiguration`: it is not installed."""
    try:
        return importlib.import_module(f'glance_store.{module}')
    except ImportError as ex:
        raise BadStoreConfiguration(
            f'the library glance_store cannot be imported ({ex}); install it with: {INSTALL}'
        ) from ex


def _bits() -> Any:
    return _library('capabilities').BitMasks


def _load(name: str) -> Any:
    """The class behind an entry point. `BadStoreConfiguration`."""
    _library('driver')
    points = importlib.metadata.entry_points(group=DRIVERS)
    # An editable install can show the same one twice.
    values = {point.value: point for point in points if point.name == name}
    if not values:
        known = ', '.join(sorted({point.name for point in points if '.' not in point.name}))
        raise BadStoreConfiguration(f'there is no driver {name} in {DRIVERS} (known: {known})')
    if len(values) > 1:
        where = ' and '.join(sorted(values))
        raise BadStoreConfiguration(f'{name} is registered twice in {DRIVERS}, by {where}')
    (point,) = values.values()
    try:
        return point.load()
    except Exception as ex:
        said = ' '.join(f'{type(ex).__name__}: {ex}'.split())
        raise BadStoreConfiguration(
            f'{name} in {DRIVERS} ({point.value}) cannot be loaded: {said}; install what it needs'
        ) from ex


def _options(inner: Any) -> list[cfg.Opt]:
    """All that the driver would register in its group."""
    found = [*(inner.OPTIONS or ()), *(getattr(inner, 'MULTI_BACKEND_OPTIONS', None) or ())]
    return list({opt.dest: opt for opt in found}.values())


def _alone(name: str, settings: Mapping[str, Any], opts: list[cfg.Opt]) -> cfg.ConfigOpts:
    """A configuration with the settings of one store, for whoever has none."""
    conf = cfg.ConfigOpts()
    conf.register_opt(cfg.DictOpt('enabled_backends', default={name: name}))
    conf.register_opts(opts, group=name)
    conf([], default_config_files=[], default_config_dirs=[])
    for opt in opts:
        if opt.dest in settings and settings[opt.dest] != opt.default:
            conf.set_override(opt.dest, settings[opt.dest], group=name)
    return conf
