# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-manage store``: which stores there are, how they are, and what is in them."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable

from oslo_config import cfg

from glance_lite.cmd import audit, copies, orphans, placements
from glance_lite.cmd.output import Output, add_format, human
from glance_lite.cmd.progress import Bar
from glance_lite.cmd.store_check import Check
from glance_lite.errors import StoreError
from glance_lite.gateway import Gateway
from glance_lite.model import DEFERRED
from glance_lite.service import Service
from glance_lite.store import Cap
from glance_lite.store_serving import Store

#: Where something is whose store is not configured.
UNKNOWN = '(unknown)'


def add(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    store = parsers.add_parser('store', help='the stores and what lies in them').add_subparsers(
        dest='store_command', required=True
    )

    def command(
        name: str, run: Callable[[cfg.ConfigOpts], int | None], text: str
    ) -> argparse.ArgumentParser:
        parser = store.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.')
        parser.set_defaults(run=run)
        add_format(parser)
        return parser

    command('list', list_stores, 'show the stores as configured; none is asked')
    check = command('check', check_stores, 'exit with 0 when the stores are well')
    check.add_argument('--store', help='only this one (default: all)')
    check.add_argument(
        '--write', action='store_true', help='write, read and remove something in each'
    )
    command('usage', show_usage, 'show how many images and bytes each store holds')
    search = command('orphans', orphans.run, 'show data that no image refers to')
    search.add_argument(
        '--store', help='only in the store of this id (default: in all that can list)'
    )
    search.add_argument(
        '--delete',
        action='store_true',
        help='remove what belongs to images that do not exist any more; all else stays',
    )
    copies.add(command)
    audit.add(command)
    placements.add(command)


# --- list, check


def list_stores(conf: cfg.ConfigOpts) -> None:
    output = Output('stores', conf.command.format)
    for store in Gateway(conf).stores.values():
        abilities = [str(cap.name).lower() for cap in Cap if cap in store.driver.caps and cap]
        marks = ['default'] * store.default + ['reserved'] * store.reserved
        output.row(
            f'{store.id:<16} {store.type:<12} weight {store.weight:<4} '
            f'{", ".join(abilities) or "reading only":<32} {" ".join(marks)}'.rstrip(),
            id=store.id,
            type=store.type,
            weight=store.weight,
            default=store.default,
            reserved=store.reserved,
            description=store.description,
            schemes=list(store.driver.schemes),
            capabilities=abilities,
        )
    output.end()


def check_stores(conf: cfg.ConfigOpts) -> int:
    command = conf.command
    stores = Gateway(conf).chosen(command.store)
    wrong = 0
    with Bar(len(stores) * (Check.STEPS if command.write else 1)) as bar:
        output = Output('stores', command.format, bar.say)
        for store in stores:
            faults = list(Check(store).faults(command.write, bar.add))
            wrong += bool(faults)
            text = '\n'.join(faults or [f'Store {store.id} is well'])
            output.row(text, id=store.id, type=store.type, faults=faults)
    output.end(f'{len(stores)} stores checked, {wrong} not well', wrong=wrong)
    return 1 if wrong else 0


# --- usage


def show_usage(conf: cfg.ConfigOpts) -> None:
    service = Service(conf)
    images: Counter[str] = Counter()
    size: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    with service.running(), Bar(None, 'locations') as bar:
        for holding in copies.holdings(service):
            where = copies.store_of(service.gateway, holding.location) or UNKNOWN
            waiting[where] += holding.location.status == DEFERRED
            images[where] += 1
            size[where] += holding.size or 0
            bar.add()
        rooms = {store.id: _room(store) for store in service.gateway.stores.values()}
    output = Output('stores', conf.command.format)
    for where in [*rooms, *sorted(images.keys() - rooms)]:
        free = rooms.get(where)
        more = f', {human(free)} free' if free is not None else ''
        late = f', {waiting[where]} of them to be removed' if waiting[where] else ''
        output.row(
            f'{where:<16} {images[where]:>8} images {human(size[where]):>12}{late}{more}',
            store=where,
            images=images[where],
            bytes=size[where],
            to_be_removed=waiting[where],
            free=free,
        )
    output.end(images=sum(images.values()), bytes=sum(size.values()))


def _room(store: Store) -> int | None:
    """Bytes that are free, where the driver knows."""
    try:
        room = store.run(store.driver.room)
    except StoreError:
        return None
    return None if room is None else room[1]
