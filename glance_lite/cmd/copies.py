# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-manage store verify``, ``copy`` and ``evacuate``: data is read again, and moved."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

from oslo_config import cfg

from glance_lite.cmd import placements
from glance_lite.cmd.output import Output, human
from glance_lite.cmd.progress import Bar
from glance_lite.context import service_context
from glance_lite.copies import Copying, Verifying
from glance_lite.errors import Conflict, GlanceLiteError, Invalid
from glance_lite.gateway import Gateway
from glance_lite.model import DEFERRED, WITH_DATA, Holding, Image, Location
from glance_lite.service import Service

#: How many rows are asked for at a time.
PAGE = 1000

BACKGROUND = 'only note it; the duty "place" does it'

AddCommand = Callable[[str, Callable[[cfg.ConfigOpts], int], str], argparse.ArgumentParser]


def add(command: AddCommand) -> None:
    """`command` makes a parser of a name, what it runs and what it is for."""
    verify = command('verify', verify_images, 'read data again, compare its size and hash')
    verify.add_argument('image', nargs='+', help='id of an image')
    copy = command('copy', copy_images, 'store the data of images in one more store')
    copy.add_argument('image', nargs='+', help='id of an image')
    copy.add_argument('--to', required=True, metavar='STORE', help='id of the store')
    copy.add_argument('--in-background', action='store_true', help=BACKGROUND)
    move = command('evacuate', evacuate, 'move all data of a store to another one')
    move.add_argument('store', help='id of the store')
    move.add_argument('--to', metavar='STORE', help='where to (default: the default store)')
    move.add_argument('--dry-run', action='store_true', help='show what would be moved')
    move.add_argument('--in-background', action='store_true', help=BACKGROUND)


def holdings(service: Service) -> Iterator[Holding]:
    """All locations whose data somebody may want, by id."""
    after, ctx = 0, service_context()
    while page := service.chain.inner.list_holdings(ctx, after, PAGE):
        yield from page
        after = page[-1].location.id


def store_of(gateway: Gateway, location: Location) -> str | None:
    """The id of the store that a location is in; None: of none that is configured."""
    store = gateway.holder(location)
    return store.id if store else location.store


# --- verify


def verify_images(conf: cfg.ConfigOpts) -> int:
    command, service, wrong, count = conf.command, Service(conf), 0, 0
    with service.running():
        images = [_image(service, image_id) for image_id in command.image]
        total = sum((image.size or 0) * len(image.locations) for image in images)
        with Bar(total, 'bytes') as bar:
            output = Output('locations', command.format, bar.say)
            for image in images:
                for found in service.chain.inner.verify_data(
                    service_context(), Verifying(image.id, told=bar.add)
                ):
                    count += 1
                    wrong += found.problem is not None
                    where = f'store {found.store}' if found.store else 'no store'
                    output.row(
                        f'{image.id}  {where}  {found.shown}  {found.problem or "as it should be"}',
                        image=image.id,
                        store=found.store,
                        url=found.shown,
                        problem=found.problem,
                    )
                if not image.locations:
                    output.row(f'{image.id}  has no data', image=image.id, store=None, problem=None)
    output.end(f'{count} locations read, {wrong} not as they should be', wrong=wrong)
    return 1 if wrong else 0


def _image(service: Service, image_id: str) -> Image:
    return service.chain.inner.peek(service_context(), image_id)


# --- copy


def copy_images(conf: cfg.ConfigOpts) -> int:
    command, service, failed = conf.command, Service(conf), 0
    with service.running():
        images = [_image(service, image_id) for image_id in command.image]
        if command.in_background:
            return _note_all(service, command.format, images, {command.to: True})
        with Bar(sum(image.size or 0 for image in images), 'bytes') as bar:
            output = Output('images', command.format, bar.say)
            for image in images:
                problem = _tried(service, image.id, command.to, bar)
                failed += problem is not None
                done = f'is in store {command.to} now' if problem is None else f': {problem}'
                output.row(f'{image.id} {done}', image=image.id, problem=problem)
    output.end(f'{len(images) - failed} copied, {failed} not', failed=failed)
    return 1 if failed else 0


def _note_all(
    service: Service, form: str, images: Iterable[Image | Holding], stores: Mapping[str, bool]
) -> int:
    """Have it done in the background."""
    placements.check(service.gateway, stores)
    output, count = Output('images', form), 0
    for image in images:
        image_id = image.image_id if isinstance(image, Holding) else image.id
        placements.note(service, output, image_id, stores)
        count += 1
    output.end(f'{count} images noted', noted=count)
    return 0


def _tried(service: Service, image_id: str, to: str, bar: Bar) -> str | None:
    """Make a copy; what has prevented it."""
    try:
        service.chain.inner.copy_data(service_context(), Copying(image_id, to, bar.add))
    except GlanceLiteError as ex:
        return ex.message
    return None


# --- evacuate


@dataclasses.dataclass
class Moved:
    """What has come of it."""

    moved: int = 0
    bytes: int = 0
    #: images that are in the store still
    left: int = 0


def evacuate(conf: cfg.ConfigOpts) -> int:
    command, service = conf.command, Service(conf)
    to = command.to or service.gateway.default
    _check(service.gateway, command.store, to)
    with service.running():
        for one in (command.store, to):
            service.gateway.stores[one].prove()
        there = [
            holding
            for holding in holdings(service)
            if store_of(service.gateway, holding.location) == command.store
        ]
        if command.in_background and not command.dry_run:
            movable = (holding for holding in there if _why_not(holding) is None)
            stores = {to: True, command.store: False}
            return _note_all(service, command.format, movable, stores)
        # Each is read, written and read again.
        with Bar(2 * sum(holding.size or 0 for holding in there), 'bytes') as bar:
            output = Output('images', command.format, bar.say)
            moved = _move_all(service, there, to, command.dry_run, bar, output)
    verb = 'would be moved' if command.dry_run else 'moved'
    output.end(
        f'{moved.moved} {verb} to store {to}, {human(moved.bytes)}; {moved.left} stay',
        **dataclasses.asdict(moved),
        to=to,
    )
    return 1 if moved.left else 0


def _move_all(
    service: Service, there: list[Holding], to: str, dry_run: bool, bar: Bar, output: Output
) -> Moved:
    moved, done = Moved(), 'would be moved' if dry_run else 'moved'
    for holding in there:
        problem = _why_not(holding)
        if problem is None and not dry_run:
            problem = _move(service, holding, to, bar)
        if problem is None:
            moved.moved += 1
            moved.bytes += holding.size or 0
        else:
            moved.left += 1
        output.row(
            f'{holding.image_id}  {human(holding.size):>10}  '
            f'{done if problem is None else "stays: " + problem}',
            image=holding.image_id,
            bytes=holding.size,
            problem=problem,
        )
    return moved


def _check(gateway: Gateway, store_id: str, to: str) -> None:
    """Whether a store can be evacuated. `Invalid`, `Conflict`, `NotFound`."""
    source, target = gateway.configured(store_id), gateway.configured(to)
    if len(gateway.stores) == 1:
        raise Conflict(f'Store {store_id} is the only one; there is nowhere to go')
    if source.default:
        raise Conflict(
            f'Store {store_id} is the default one, and new images go there; name another one in '
            f'[glance_store] first'
        )
    if source.read_only:
        raise Invalid(f'Store {store_id} is read-only; its data belongs to somebody else')
    if to == store_id:
        raise Invalid(f'Store {store_id} cannot be moved to itself')
    if target.read_only or target.reserved:
        raise Invalid(f'Store {to} takes no data')


def _why_not(holding: Holding) -> str | None:
    if holding.location.status == DEFERRED:
        return 'the image is deleted, and its data will be removed'
    if holding.status not in WITH_DATA:
        return f'the image is {holding.status}'
    return None


def _move(service: Service, holding: Holding, to: str, bar: Bar) -> str | None:
    """Move one location; what has prevented it, and then it is where it was."""
    inner, gateway = service.chain.inner, service.gateway
    image_id, old = holding.image_id, holding.location
    try:
        image = _image(service, image_id)
        if not any(store_of(gateway, found) == to for found in image.locations):
            inner.copy_data(service_context(), Copying(image_id, to, bar.add))
        # The only thing that may be removed is what there is a second, good one of.
        good = list(inner.verify_data(service_context(), Verifying(image_id, to, bar.add)))
        problem = next((found.problem for found in good if found.problem), None)
        if problem is not None or not good:
            return f'the copy in store {to} is not good: {problem or "it is gone"}'
        inner.remove_copy(service_context(), image_id, old.id)
    except GlanceLiteError as ex:
        return ex.message
    return None
