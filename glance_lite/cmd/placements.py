# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-manage store place`` and ``placements``: where images are to be, in time."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping

from oslo_config import cfg

from glance_lite.cmd.output import Output
from glance_lite.context import service_context
from glance_lite.errors import Invalid
from glance_lite.gateway import Gateway
from glance_lite.service import Service
from glance_lite.updates.values import Placement

#: How many rows are asked for at a time.
PAGE = 1000

AddCommand = Callable[[str, Callable[[cfg.ConfigOpts], int], str], argparse.ArgumentParser]


def add(command: AddCommand) -> None:
    """`command` makes a parser of a name, what it runs and what it is for."""
    place = command('place', place_images, 'say in which stores images are to be, and not to be')
    place.add_argument('image', nargs='+', help='id of an image')
    place.add_argument(
        '--in', dest='wanted', action='append', default=[], metavar='STORE', help='id of a store'
    )
    place.add_argument(
        '--not-in', dest='unwanted', action='append', default=[], metavar='STORE',
        help='id of a store from which the image goes when it is in the others',
    )  # fmt: skip
    command('placements', list_placements, 'show what is still to be copied and removed')


def place_images(conf: cfg.ConfigOpts) -> int:
    command, service = conf.command, Service(conf)
    stores = {**dict.fromkeys(command.wanted, True), **dict.fromkeys(command.unwanted, False)}
    if not stores or set(command.wanted) & set(command.unwanted):
        raise Invalid('Name stores with --in or --not-in, each with one of them')
    check(service.gateway, stores)
    output = Output('images', command.format)
    with service.running():
        for image_id in command.image:
            service.chain.inner.peek(service_context(), image_id)
            note(service, output, image_id, stores)
    output.end()
    return 0


def check(gateway: Gateway, stores: Mapping[str, bool]) -> None:
    """Whether images can be there. `Invalid`, `NotFound`."""
    for store_id, wanted in stores.items():
        store = gateway.configured(store_id)
        if store.read_only or (wanted and store.reserved):
            raise Invalid(f'Store {store_id} takes no data, and gives none away')


def note(service: Service, output: Output, image_id: str, stores: Mapping[str, bool]) -> None:
    """Have the duty ``place`` do it."""
    service.chain.inner.want_placement(service_context(), image_id, stores)
    output.row(f'{image_id} {_text(stores)}', image=image_id, stores=dict(stores))


def _text(stores: Mapping[str, bool]) -> str:
    wanted = [store for store, there in stores.items() if there]
    unwanted = [store for store, there in stores.items() if not there]
    parts = [f'is to be in {", ".join(wanted)}'] if wanted else []
    parts += [f'is not to be in {", ".join(unwanted)}'] if unwanted else []
    return ', '.join(parts)


def list_placements(conf: cfg.ConfigOpts) -> int:
    service, output = Service(conf), Output('images', conf.command.format)
    count = failing = 0
    with service.running():
        for found in _all(service):
            count += 1
            failing += found.problem is not None
            stores = {**dict.fromkeys(found.wanted, True), **dict.fromkeys(found.unwanted, False)}
            problem = f'; tried {found.attempts} times: {found.problem}' if found.problem else ''
            output.row(
                f'{found.image_id} {_text(stores)}{problem}',
                image=found.image_id,
                stores=stores,
                attempts=found.attempts,
                problem=found.problem,
            )
    output.end(f'{count} images, {failing} of them failed before', failing=failing)
    return 0


def _all(service: Service) -> Iterator[Placement]:
    after, ctx = '', service_context()
    while page := service.chain.inner.list_placements(ctx, after, PAGE, False):
        yield from page
        after = page[-1].image_id
