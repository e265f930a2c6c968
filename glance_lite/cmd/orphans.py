# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-manage store orphans``: data in the stores that no image refers to."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from oslo_config import cfg

from glance_lite.cmd.output import Output
from glance_lite.cmd.progress import Bar
from glance_lite.context import service_context
from glance_lite.model import Orphan
from glance_lite.service import Service
from glance_lite.store import Cap


def run(conf: cfg.ConfigOpts) -> None:
    """Print what is found, a line each, and remove what may go. `NotFound`: no such store."""
    command, ctx, service = conf.command, service_context(), Service(conf)
    found = removed = size = 0
    with service.running(), Bar(None, 'orphans') as bar:
        output = Output('orphans', command.format, bar.say)
        for orphan in _search(conf, service, command.store):
            found += 1
            size += orphan.size
            bar.add()
            gone = False
            what = 'stays: ' + _why(orphan) if not orphan.removable else 'can be removed'
            if orphan.removable and command.delete:
                gone = service.chain.inner.remove_orphan(ctx, orphan)
                removed += gone
                what = 'removed' if gone else 'stays: it is gone already, or needed now'
            hours = orphan.age / 3600
            output.row(
                f'{orphan.store}  {orphan.size:>14} bytes  {hours:8.1f} h  {orphan.shown}  {what}',
                store=orphan.store,
                bytes=orphan.size,
                age=round(orphan.age),
                url=orphan.shown,
                image=orphan.image_id,
                removable=orphan.removable,
                removed=gone,
            )
    output.end(
        f'{found} found, {size} bytes; {removed} removed', found=found, bytes=size, removed=removed
    )


def _search(conf: cfg.ConfigOpts, service: Service, only: str | None) -> Iterator[Orphan]:
    for store in service.gateway.chosen(only):
        if only is None and Cap.LIST not in store.driver.caps:
            print(f'Store {store.id} ({store.type}) cannot list what it holds', file=sys.stderr)
        else:
            print(f'Looking into store {store.id}', file=sys.stderr)
            yield from service.chain.inner.find_orphans(
                service_context(), store.id, conf.maintenance.orphan_min_age
            )


def _why(orphan: Orphan) -> str:
    if orphan.image_id is None:
        return 'not a name of an image'
    return f'image {orphan.image_id} is there, or just being worked on'
