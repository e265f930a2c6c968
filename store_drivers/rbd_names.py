# SPDX-License-Identifier: Apache-2.0
"""How devices of the rbd driver are named: urls as Glance writes them, and what is behind them."""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import quote, unquote

from glance_lite.store import BadStoreUri

#: The snapshot that Nova and Cinder clone.
SNAPSHOT = 'snap'

_FSID = re.compile('[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Key:
    """A device, and which of its snapshots is read."""

    pool: str
    image: str
    #: None: a device that has none, of times when Ceph knew no clones. Not told in `repr`, by
    #: which keys are compared: it is the same device.
    snapshot: str | None = dataclasses.field(repr=False)


def is_name(text: str) -> bool:
    """Whether a pool, a device or a snapshot may be called that."""
    return 0 < len(text) <= 255 and text.isprintable() and not set('/@') & set(text)


def write(fsid: str, key: Key) -> str:
    parts = (fsid, key.pool, key.image, key.snapshot or SNAPSHOT)
    return 'rbd://' + '/'.join(quote(part, '') for part in parts)


def parse(url: str, pool: str) -> tuple[str | None, Key]:
    """(id of the cluster if the url has one, key). `pool`: of a url without one. `BadStoreUri`."""
    scheme, _, rest = url.partition('://')
    parts = rest.split('/')
    if scheme != 'rbd' or len(parts) not in (1, 4):
        raise BadStoreUri('Not an rbd url')
    if len(parts) == 1:  # of times when there was one cluster with one pool
        fsid, key = None, Key(pool, rest, None)
    else:
        fsid, *names = (unquote(part) for part in parts)
        if not _FSID.fullmatch(fsid):
            raise BadStoreUri('Not an rbd url')
        key = Key(*names)
    names = [key.pool, key.image, *([key.snapshot] if key.snapshot is not None else [])]
    if not all(map(is_name, names)):
        raise BadStoreUri('Not an rbd url')
    return fsid, key
