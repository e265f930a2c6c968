# SPDX-License-Identifier: Apache-2.0
"""Tells others what has happened, after it has happened.

Event names and payloads are Glance's. Events ride with what they tell of into the outbox, in the
same transaction: a refused request announces nothing, and a bus that is away costs a request
nothing. ``glance_lite.notify`` carries them from there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from glance_lite import plugins
from glance_lite.conf import where
from glance_lite.context import service_context
from glance_lite.errors import PluginError
from glance_lite.layer import Metric, Parts
from glance_lite.metadefs.notifier import MetadefNotifier
from glance_lite.notify.driver import NoopNotifier, NotifierDriver
from glance_lite.notify.events import (
    BEGUN,
    CLAIMED,
    DONE,
    ERROR,
    FAILED,
    INFO,
    PLACED,
    Event,
    is_disabled,
    make_notice,
)
from glance_lite.notify.messaging import configured
from glance_lite.notify.sender import Sender

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.context import RequestContext
    from glance_lite.imports.jobs import ImportRequest
    from glance_lite.maintenance.ticker import Job
    from glance_lite.model import Changes, Image, Member, NewLocation, Rider, Wanted
    from glance_lite.stream import Download, Upload
    from glance_lite.tasks import NewTask, Task


class Notifier(MetadefNotifier):
    """Events of images, members, tasks and metadata definitions."""

    outside_of = ('policy', 'quota', 'location', 'db')

    def __init__(self, parts: Parts) -> None:
        conf = parts.conf
        self._disabled = frozenset(conf.disabled_notifications)
        self._publisher: str = conf.default_publisher_id
        #: where data goes when nobody says where; None: there is but one store
        self._default_store: str | None = None
        if conf.enabled_backends:
            self._default_store = conf.glance_store.default_backend
        self._drivers = load_drivers(conf)
        self._sender = Sender(conf, self._drivers, lambda: self.next)

    def acts(self) -> bool:
        return bool(self._drivers)

    def start(self) -> None:
        for driver in self._drivers:
            driver.start()
        self._sender.start()

    def stop(self) -> None:
        self._sender.stop()
        for driver in self._drivers:
            driver.stop()

    def metrics(self) -> Iterator[Metric]:
        """What waits in the outbox, for how long, and what was dropped of it."""
        found = self.next.look_at_outbox(service_context())
        yield Metric('glance_lite_outbox_events', 'Events that wait to be sent.', found.waiting)
        text = 'Seconds that the oldest event has waited.'
        yield Metric('glance_lite_outbox_age_seconds', text, found.age or 0.0)
        text = 'Whether nothing could be sent the last time.'
        yield Metric('glance_lite_outbox_failing', text, found.failing_since is not None)
        text = 'Events that will never be sent, because the outbox was full or they were refused.'
        yield Metric('glance_lite_outbox_dropped_total', text, found.dropped)

    def jobs(self) -> tuple[Job, ...]:
        return self._sender.jobs

    # --- events

    def events(self, *names: str, **kwargs: Any) -> tuple[Event, ...]:
        """Riders for those of the events that are not disabled."""
        return tuple(
            Event(name, self._publisher, **kwargs)
            for name in names
            if not is_disabled(name, self._disabled)
        )

    def told(self) -> None:
        self._sender.wake()

    # --- images

    def create_image(self, ctx: RequestContext, changes: Changes) -> Image:
        image = self.next.create_image(ctx, _riding(changes, self.events('image.create')))
        self.told()
        return image

    def update_image(self, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
        changes = _riding(changes, self.events('image.update'))
        image = self.next.update_image(ctx, image_id, changes)
        self.told()
        return image

    def set_active(self, ctx: RequestContext, image_id: str, active: bool) -> Image:
        with ctx.riding(*self.events('image.update')):
            image = self.next.set_active(ctx, image_id, active)
        self.told()
        return image

    def delete_image(self, ctx: RequestContext, image_id: str) -> None:
        with ctx.riding(*self.events('image.delete')):
            self.next.delete_image(ctx, image_id)
        self.told()

    # --- data

    def upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Image:
        for rider in (
            *self.events('image.update', when=CLAIMED),
            *self.events('image.prepare', when=CLAIMED, more=self._backend(store)),
            *self.events('image.upload', 'image.activate', 'image.update'),
            *self.events('image.upload', when=FAILED, priority=ERROR),
            *self.events('image.update', when=FAILED),
        ):
            source.ride(rider)
        try:
            return self.next.upload(ctx, image_id, source, store)
        finally:
            self.told()

    def _backend(self, store: str | None) -> dict[str, str]:
        """What ``image.prepare`` says of the store, where there are several."""
        return {'backend': store or self._default_store} if self._default_store else {}

    def download(self, ctx: RequestContext, image_id: str, wanted: Wanted) -> Download:
        download = self.next.download(ctx, image_id, wanted)
        if wanted.body and download.total is not None and self.events('image.send'):
            image, length = download.image, download.length

            def ended(sent: int, error: BaseException | None) -> None:
                payload = {
                    'bytes_sent': sent,
                    'image_id': image.id,
                    'owner_id': image.owner,
                    'receiver_tenant_id': ctx.project_id,
                    'receiver_user_id': ctx.user_id,
                }
                priority = INFO if sent == length else ERROR
                self._sender.put(make_notice('image.send', self._publisher, priority, payload))

            download.on_end(ended)
        return download

    def delete_from_store(self, ctx: RequestContext, image_id: str, store: str) -> None:
        with ctx.riding(*self.events('image.update')):
            self.next.delete_from_store(ctx, image_id, store)
        self.told()

    def add_location(self, ctx: RequestContext, image_id: str, new: NewLocation) -> None:
        riders = (
            *self.events('task.create', 'image.update', when=CLAIMED),
            *self.events('task.processing', when=BEGUN),
            *self.events('image.update', when=PLACED),
            *self.events('image.update', 'task.success', 'task.run'),
            *self.events('image.update', 'task.failure', when=FAILED),
        )
        new = dataclasses.replace(new, riders=(*new.riders, *riders))
        self.next.add_location(ctx, image_id, new)
        self.told()

    def stage(self, ctx: RequestContext, image_id: str, source: Upload) -> Image:
        for when in (CLAIMED, DONE, FAILED):
            for rider in self.events('image.update', when=when):
                source.ride(rider)
        try:
            return self.next.stage(ctx, image_id, source)
        finally:
            self.told()

    def import_image(self, ctx: RequestContext, image_id: str, asked: ImportRequest) -> Image:
        riders = (
            *self.events('task.create', 'image.update', when=CLAIMED),
            *self.events('task.processing', 'image.prepare', when=BEGUN),
            *self.events('image.upload', 'image.activate', when=PLACED),
            *self.events('image.update', 'task.success', 'task.run'),
            *self.events('image.update', 'task.failure', when=FAILED),
        )
        asked = dataclasses.replace(asked, riders=(*asked.riders, *riders))
        image = self.next.import_image(ctx, image_id, asked)
        self.told()
        return image

    # --- members

    def add_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        with ctx.riding(*self.events('image.member.create')):
            member = self.next.add_member(ctx, image_id, member_id)
        self.told()
        return member

    def update_member(
        self, ctx: RequestContext, image_id: str, member_id: str, status: str
    ) -> Member:
        with ctx.riding(*self.events('image.member.update')):
            member = self.next.update_member(ctx, image_id, member_id, status)
        self.told()
        return member

    def remove_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        with ctx.riding(*self.events('image.member.delete')):
            member = self.next.remove_member(ctx, image_id, member_id)
        self.told()
        return member

    # --- tasks

    def create_task(self, ctx: RequestContext, task: NewTask) -> Task:
        with ctx.riding(*self.events('task.create', 'task.failure')):
            created = self.next.create_task(ctx, task)
        self.told()
        return created


def load_drivers(conf: cfg.ConfigOpts) -> tuple[NotifierDriver, ...]:
    """Those that do something, of those configured. `ConfigurationError`, `PluginError`.

    Where we are told of none, those that oslo.messaging is told of: only its ``log`` needs nothing
    of oslo.messaging itself.
    """
    option = f'{where(conf, "notifier", "drivers")}[notifier] drivers'
    names: list[str] = conf.notifier.drivers
    if not names:
        theirs, _ = configured(conf)
        names = ['log'] if 'log' in theirs else []
        if set(theirs) - {'log'}:
            names.append('messaging')
    made = []
    for name in dict.fromkeys(names):
        kind = plugins.load(plugins.NOTIFIERS, name, option)
        if not (isinstance(kind, type) and issubclass(kind, NotifierDriver)):
            raise PluginError(f'{option}: {name} is not a notifier')
        if not issubclass(kind, NoopNotifier):
            made.append(kind(conf))
    return tuple(made)


def _riding(changes: Changes, riders: Iterable[Rider]) -> Changes:
    return dataclasses.replace(changes, riders=(*changes.riders, *riders))
