# SPDX-License-Identifier: Apache-2.0
"""Tells the message bus what has happened, after it has happened.

Event names and payloads are Glance's. A refused request announces nothing; ``image.prepare`` is
sent when the first byte is read, when every layer has agreed. A bus that fails is logged and
never a client's error.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from glance_lite.errors import GlanceLiteError
from glance_lite.layer import Parts
from glance_lite.metadefs.notifier import MetadefNotifier
from glance_lite.model import status_when_deleted

if TYPE_CHECKING:
    import datetime

    from glance_lite.context import RequestContext
    from glance_lite.model import Changes, Image, Member, Wanted
    from glance_lite.stream import Download, Upload
    from glance_lite.tasks import NewTask, Task

LOG = logging.getLogger(__name__)


class Notifier(MetadefNotifier):
    """Events of images, members and metadata definitions on oslo.messaging's notification bus."""

    outside_of = ('policy', 'quota', 'location', 'db')

    def __init__(self, parts: Parts) -> None:
        conf = parts.conf
        self._conf = conf
        self._disabled = frozenset(conf.disabled_notifications)
        self._publisher: str = conf.default_publisher_id
        self._delayed: bool = conf.delayed_delete
        self._notifier: Any = None
        self._drivers = _drivers(conf)

    def acts(self) -> bool:
        return bool(self._drivers)

    def start(self) -> None:
        import oslo_messaging  # heavy, and only for those who have a bus

        transport = oslo_messaging.get_notification_transport(self._conf)
        self._notifier = oslo_messaging.Notifier(transport, publisher_id=self._publisher)

    def stop(self) -> None:
        if self._notifier is not None:
            self._notifier.transport.cleanup()

    # --- sending

    def send(self, ctx: RequestContext, event: str, payload: Any, error: bool = False) -> None:
        """Send unless the event or its group is disabled. Never raises."""
        if event in self._disabled or event.rpartition('.')[0] in self._disabled:
            return
        try:
            send = self._notifier.error if error else self._notifier.info
            # As in Glance nothing of the caller: a context carries the token.
            send({}, event, payload)
        except Exception as ex:
            LOG.error('The event %s could not be sent: %s', event, ex)

    # --- images

    def create_image(self, ctx: RequestContext, changes: Changes) -> Image:
        image = self.next.create_image(ctx, changes)
        self.send(ctx, 'image.create', image_payload(image))
        return image

    def update_image(self, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
        image = self.next.update_image(ctx, image_id, changes)
        self.send(ctx, 'image.update', image_payload(image))
        return image

    def set_active(self, ctx: RequestContext, image_id: str, active: bool) -> Image:
        image = self.next.set_active(ctx, image_id, active)
        self.send(ctx, 'image.update', image_payload(image))
        return image

    def delete_image(self, ctx: RequestContext, image_id: str) -> None:
        image = self.next.peek(ctx, image_id)
        self.next.delete_image(ctx, image_id)
        status = status_when_deleted(image.status, self._delayed)
        payload = image_payload(image.replace(status=status))
        payload.update(deleted=True, deleted_at=_time(image.updated_at))
        self.send(ctx, 'image.delete', payload)

    # --- data

    def upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Image:
        def started() -> None:
            with contextlib.suppress(GlanceLiteError):
                # An event that cannot be told is no reason to break off.
                prepared = image_payload(self.next.peek(ctx, image_id))
                self.send(ctx, 'image.prepare', {**prepared, 'backend': store})

        source.on_start(started)
        try:
            image = self.next.upload(ctx, image_id, source, store)
        except Exception as ex:
            if source.count:
                self.send(ctx, 'image.upload', str(ex), error=True)
            raise
        payload = image_payload(image)
        self.send(ctx, 'image.upload', {**payload, 'backend': store})
        self.send(ctx, 'image.activate', payload)
        return image

    def download(self, ctx: RequestContext, image_id: str, wanted: Wanted) -> Download:
        download = self.next.download(ctx, image_id, wanted)
        if wanted.body and download.total is not None:
            image, length = download.image, download.length

            def ended(sent: int, error: BaseException | None) -> None:
                payload = {
                    'bytes_sent': sent,
                    'image_id': image.id,
                    'owner_id': image.owner,
                    'receiver_tenant_id': ctx.project_id,
                    'receiver_user_id': ctx.user_id,
                }
                self.send(ctx, 'image.send', payload, error=sent != length)

            download.on_end(ended)
        return download

    # --- members

    def add_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        member = self.next.add_member(ctx, image_id, member_id)
        self.send(ctx, 'image.member.create', member_payload(member))
        return member

    def update_member(
        self, ctx: RequestContext, image_id: str, member_id: str, status: str
    ) -> Member:
        member = self.next.update_member(ctx, image_id, member_id, status)
        self.send(ctx, 'image.member.update', member_payload(member))
        return member

    def remove_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        member = self.next.remove_member(ctx, image_id, member_id)
        payload = member_payload(member)
        payload.update(deleted=True, deleted_at=_time(member.updated_at))
        self.send(ctx, 'image.member.delete', payload)
        return member

    # --- tasks

    def create_task(self, ctx: RequestContext, task: NewTask) -> Task:
        created = self.next.create_task(ctx, task)
        payload = task_payload(created)
        self.send(ctx, 'task.create', payload)
        if created.status == 'failure':
            self.send(ctx, 'task.failure', payload)
        return created


def _drivers(conf: cfg.ConfigOpts) -> list[str]:
    """The drivers that do something, of those configured.

    The option is registered by name here, because oslo.messaging is heavy and most
    installations have no bus.
    """
    old = [cfg.DeprecatedOpt('notification_driver', group='DEFAULT')]
    option = cfg.MultiStrOpt('driver', default=[], deprecated_opts=old)
    group = 'oslo_messaging_notifications'
    reader = cfg.ConfigOpts()
    reader.register_opt(option, group=group)
    dirs = [path for path in (conf.config_dir or []) if path]
    reader([], default_config_files=conf.config_file or [], default_config_dirs=dirs)
    return [name for name in reader[group].driver if name not in ('', 'noop')]


def _time(value: datetime.datetime) -> str:
    return value.strftime('%Y-%m-%dT%H:%M:%SZ')


def image_payload(image: Image) -> dict[str, Any]:
    """What an event says of an image: no locations, no multihash."""
    return {
        'id': image.id,
        'name': image.name,
        'status': image.status,
        'created_at': _time(image.created_at),
        'updated_at': _time(image.updated_at),
        'min_disk': image.min_disk,
        'min_ram': image.min_ram,
        'protected': image.protected,
        'checksum': image.checksum,
        'owner': image.owner,
        'disk_format': image.disk_format,
        'container_format': image.container_format,
        'size': image.size,
        'virtual_size': image.virtual_size,
        'is_public': image.visibility == 'public',
        'visibility': image.visibility,
        'properties': dict(image.properties),
        'tags': list(image.tags),
        'deleted': False,
        'deleted_at': None,
    }


def member_payload(member: Member) -> dict[str, Any]:
    """What an event says of a member."""
    return {
        'image_id': member.image_id,
        'member_id': member.member_id,
        'status': member.status,
        'created_at': _time(member.created_at),
        'updated_at': _time(member.updated_at),
        'deleted': False,
        'deleted_at': None,
    }


def task_payload(task: Task) -> dict[str, Any]:
    """What an event says of a task: neither what it was given nor what came of it."""
    return {
        'id': task.id,
        'type': task.type,
        'status': task.status,
        'result': None,
        'owner': task.owner,
        'message': None,
        'expires_at': _time(task.expires_at) if task.expires_at else None,
        'created_at': _time(task.created_at),
        'updated_at': _time(task.updated_at),
        'deleted': False,
        'deleted_at': None,
    }
