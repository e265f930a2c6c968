# SPDX-License-Identifier: Apache-2.0
"""Data that lies somewhere already: what ``location`` asks of it, and how it is hashed."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from glance_lite.errors import (
    Forbidden,
    Gone,
    Invalid,
    LimitExceeded,
    ObjectNotFound,
    StoreError,
)
from glance_lite.model import Digests, Location, NewLocation, Wanted
from glance_lite.relocation import check_digest
from glance_lite.stream import Digest

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.context import RequestContext
    from glance_lite.gateway import Gateway
    from glance_lite.model import Image, LocationStep
    from glance_lite.store import Caller
    from glance_lite.store_serving import Store

LOG = logging.getLogger(__name__)

#: Most new locations of one request: each is asked for at its server.
MOST = 100
#: Deepest nesting of a location's metadata.
DEEPEST = 10
#: Seconds between two looks whether the image is still there while it is hashed.
LOOK = 5.0
#: Seconds after which a location that broke off is read again, and the factor for the next time.
PAUSE, FACTOR = 1.0, 2.0

WEB = ('http', 'https')


class Registration:
    """Looks at locations that people name."""

    def __init__(self, gateway: Gateway, conf: cfg.ConfigOpts) -> None:
        self._gateway = gateway
        self._algorithm: str = conf.hashing_algorithm
        self._secure: bool = conf.do_secure_hash
        self._checksum: bool = conf.compute_checksum
        self._retries: int = conf.http_retries

    # --- what a request names

    def resolve_step(self, image: Image, step: LocationStep) -> LocationStep:
        """A step whose new locations have their stores. `Invalid`."""
        # What the image has already may get other metadata, whatever it is.
        known = {found.url for found in image.locations} if step.op == 'replace' else set()
        values = tuple(self.resolve(new, new.url in known) for new in step.values)
        return dataclasses.replace(step, values=values)

    def resolve(self, new: NewLocation, known: bool = False) -> NewLocation:
        """With the id of the store it belongs to, where there are several. `Invalid`."""
        check_metadata(new.metadata)
        gateway = self._gateway
        store = gateway.holder(Location(0, new.url)) if known else self.store_of(new.url)
        if store is None:
            return new
        if not gateway.multi:
            return new
        metadata = {name: value for name, value in new.metadata.items() if name != 'backend'}
        return dataclasses.replace(new, metadata={**metadata, 'store': store.id})

    def store_of(self, url: str) -> Store:
        """The store that can read `url`. `Invalid`: none can, or nobody may name it."""
        store = self._gateway.claiming(url)
        if store is None or _scheme(url) in store.driver.private_schemes:
            raise Invalid('The url is not one of a store in which images can be registered')
        return store

    def check_caller(self, ctx: RequestContext, url: str) -> None:
        """Who is no service may name web servers only. `Forbidden`."""
        if not self._is_service(ctx) and (
            _scheme(url) not in WEB or not self._gateway.has_type('http')
        ):
            raise Forbidden('Only other services may register data of this kind')

    @staticmethod
    def is_web(url: str) -> bool:
        return _scheme(url) in WEB

    def is_trusted(self, ctx: RequestContext) -> bool:
        """Whether the caller may name whatever data there is."""
        return ctx.is_admin or self._is_service(ctx)

    @staticmethod
    def _is_service(ctx: RequestContext) -> bool:
        return 'service' in {*ctx.roles, *(ctx.service_roles or ())}

    def check_digests(self, given: Mapping[str, str]) -> None:
        """Validation data of the new way. `Invalid`."""
        if not given:
            return
        for name in ('os_hash_algo', 'os_hash_value'):
            if name not in given:
                raise Invalid(f'validation_data lacks {name}')
        check_digest('os_hash_value', given['os_hash_algo'], given['os_hash_value'])

    def check_reachable(self, url: str) -> None:
        """Whether the guarded client would go there. `UrlRefused`."""
        if _scheme(url) in WEB:
            self._gateway.guard.check(url)

    # --- what is there

    def size(self, url: str, caller: Caller | None = None) -> int:
        """Bytes of the data. `Invalid`: there is none, or it cannot be read."""
        store = self.store_of(url)
        try:
            size = store.size(url, caller)
        except Invalid:
            raise
        except StoreError as ex:
            raise Invalid(f'The location cannot be used: {ex}') from None
        if size <= 0:
            raise Invalid('There is no data at the location')
        return size

    def size_of_all(
        self, image: Image, unknown: tuple[NewLocation, ...], caller: Caller | None
    ) -> int | None:
        """The one size of the image and of its new locations. `Invalid`, `LimitExceeded`."""
        if len(unknown) > MOST:
            raise LimitExceeded(f'A request may have {MOST} new locations at most')
        size = image.size
        for new in unknown:
            found = self.size(new.url, caller)
            if size is not None and found != size:
                raise Invalid(f'There are {found} bytes at a location, and {size} in the image')
            size = found
        return size

    # --- hashing

    def active_before_hashing(self, new: NewLocation) -> bool:
        """Whether the image can be used at once: nothing that is said of it is to be checked."""
        return not (self._secure and new.validation)

    def algorithm(self, new: NewLocation) -> str | None:
        """What the data will be hashed with; None if it is not hashed."""
        return new.validation.get('os_hash_algo', self._algorithm) if self._secure else None

    def digests(self, image: Image, new: NewLocation, still_ours: Callable[[], bool]) -> Digests:
        """What is known of the data in the end.

        `Invalid`: it is not what it was said to be. `StoreError`: it cannot be read.
        `Gone`: nobody wants it any more.
        """
        given = new.validation
        value = given.get('os_hash_value')
        algorithm = self.algorithm(new)
        if algorithm is None:
            return Digests(None, given.get('os_hash_algo'), value)
        found = self._hash(image, new, algorithm, still_ours)
        if value is not None and value.lower() != found.os_hash_value:
            raise Invalid(
                f'The data at the location has another {algorithm} digest than os_hash_value'
            )
        return found

    def _hash(
        self, image: Image, new: NewLocation, algorithm: str, still_ours: Callable[[], bool]
    ) -> Digests:
        pause = PAUSE
        for left in range(self._retries, -1, -1):
            try:
                return self._read(image, new, algorithm, still_ours)
            except ObjectNotFound:
                raise
            except StoreError as ex:
                if not left:
                    raise
                LOG.warning('Image %s cannot be hashed, and is tried again: %s', image.id, ex)
            time.sleep(pause)
            pause *= FACTOR
            if not still_ours():
                raise Gone('The image was deleted while it was hashed')
        raise AssertionError('the last try returns or raises')

    def _read(
        self, image: Image, new: NewLocation, algorithm: str, still_ours: Callable[[], bool]
    ) -> Digests:
        here = tuple(found for found in image.locations if found.url == new.url)
        if not here:
            raise ObjectNotFound('The location was removed before it was hashed')
        value = Digest(algorithm)
        checksum = Digest('md5') if self._checksum else None
        data = self._gateway.open(image.replace(locations=here[:1]), Wanted())
        next_look = time.monotonic() + LOOK
        try:
            for chunk in data:
                value.update(chunk)
                if checksum is not None:
                    checksum.update(chunk)
                if time.monotonic() > next_look:
                    if not still_ours():
                        raise Gone('The image was deleted while it was hashed')
                    next_look = time.monotonic() + LOOK
            md5 = None if checksum is None else checksum.hexdigest()
            return Digests(md5, algorithm, value.hexdigest())
        finally:
            value.join()
            if checksum is not None:
                checksum.join()
            data.close()


def _scheme(url: str) -> str:
    return url.partition(':')[0].lower()


def check_metadata(value: Any, depth: int = 0) -> None:
    """Maps, lists and text are what a location's metadata may be made of. `Invalid`."""
    if depth > DEEPEST:
        raise Invalid('The metadata of a location is nested too deeply')
    inner = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, (Mapping, list)):
        for one in inner:
            check_metadata(one, depth + 1)
    elif not isinstance(value, str):
        raise Invalid('The metadata of a location is made of objects, lists and strings')
