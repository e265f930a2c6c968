# SPDX-License-Identifier: Apache-2.0
"""``glance-download``: the data is an image of another Image service of the same Keystone."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from glance_lite.errors import ConfigurationError, FetchFailed, Invalid
from glance_lite.guarded import PORTS, Guard, Rules, split
from glance_lite.imports.fetch import Expected, Fetch
from glance_lite.imports.method import ImportMethod
from glance_lite.imports.values import Job, Outcome, Work
from glance_lite.imports.web_download import bounds, last_mark, noted
from glance_lite.model import Image

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.context import RequestContext
    from glance_lite.imports.trusts import Borrowed

#: Characters of the name of an interface.
LONGEST = 255
#: Most bytes of what the other service says of the image.
MOST = 1024 * 1024
#: Names that are no custom properties, however the prefixes are set.
BASE = frozenset(
    {field.name for field in dataclasses.fields(Image)}
    | {'self', 'file', 'schema', 'direct_url', 'stores'}
)
TRUST = 'trust_id'


class GlanceDownload(ImportMethod):
    """Asks as the user, by a trust that was made when the import was asked for."""

    fields: ClassVar[frozenset[str]] = frozenset(
        {'glance_region', 'glance_image_id', 'glance_service_interface'}
    )

    def __init__(self, name: str, conf: cfg.ConfigOpts, guard: Guard) -> None:
        super().__init__(name, conf, guard)
        option = '[DEFAULT] enabled_import_methods: glance-download'
        try:
            from glance_lite.imports.trusts import Trusts
        except ImportError as ex:
            raise ConfigurationError(
                f'{option} needs keystoneauth1; install it with: pip install glance-lite[swift]'
            ) from ex
        own = conf.glance_download
        self._trusts = Trusts(conf, own.auth_section, option, own.trust_lifetime)
        self._prefixes = tuple(conf.glance_download_properties.extra_properties)
        self._formats = conf.image_format

    def validate(self, fields: Mapping[str, Any], image: Image) -> Mapping[str, Any]:
        """Names of the other service and its image. `Invalid`."""
        region, image_id = fields.get('glance_region'), fields.get('glance_image_id')
        interface = fields.get('glance_service_interface', 'public')
        for name, value in (('glance_region', region), ('glance_image_id', image_id)):
            if not isinstance(value, str) or not value:
                raise Invalid(f'glance-download needs a {name}')
        try:
            known = str(uuid.UUID(image_id))
        except ValueError:
            raise Invalid('The remote image id does not look like a UUID') from None
        if not isinstance(interface, str) or len(interface) > LONGEST:
            raise Invalid('glance_service_interface must be the name of an interface')
        return {
            'glance_region': region,
            'glance_image_id': known,
            'glance_service_interface': interface,
        }

    def accept(
        self, ctx: RequestContext, fields: Mapping[str, Any], image: Image
    ) -> Mapping[str, Any]:
        """With the trust. `Forbidden`, `Unavailable`."""
        return {**fields, TRUST: self._trusts.lend(ctx)}

    def fetch(self, job: Job, work: Work) -> Outcome:
        """The data, the formats, and the properties that the operator wants."""
        if 'done' in work.note:
            # It had all been there; the trust is gone by now.
            return _outcome(json.loads(work.note['done']))
        borrowed = self._trusts.borrowed(job.fields[TRUST])
        asked = job.fields
        endpoint = borrowed.endpoint(
            'image', asked['glance_region'], asked['glance_service_interface']
        )
        other = _Other(endpoint, asked['glance_image_id'], borrowed, self._trusts.tls(), self.guard)
        found = other.describe()
        made = self._made_of(found)
        fetched = other.fetch(found, work, self.conf)
        if fetched != found['size']:
            raise FetchFailed(f'The image has {found["size"]} bytes, and {fetched} came')
        work.keep({'done': json.dumps(made)})
        borrowed.give_back()
        return _outcome(made)

    def _made_of(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """What the image gets of what the other service says of its own. `Invalid`."""
        if found.get('status') != 'active':
            raise Invalid(f'The image there must be active, and is {found.get("status")}'[:100])
        if not isinstance(found.get('size'), int):
            raise Invalid('The other service does not say how large the image is')
        fields = {}
        for name in ('disk_format', 'container_format'):
            known = getattr(self._formats, f'{name}s')
            if found.get(name) not in known:
                raise Invalid(f'The {name} of the image there is not one that is allowed here')
            fields[name] = found[name]
        properties = {
            name: value
            for name, value in found.items()
            if isinstance(value, str)
            and name.startswith(self._prefixes)
            and name not in BASE
            and not name.startswith('os_glance')
        }
        return {'fields': fields, 'properties': properties}


def _outcome(made: Mapping[str, Any]) -> Outcome:
    return Outcome(fields=made['fields'], properties=made['properties'])


class _Other:
    """An image of another service. Its address is the catalog's: the operator's, not a user's."""

    def __init__(
        self, endpoint: str, image_id: str, borrowed: Borrowed, tls: Any, guard: Guard
    ) -> None:
        base = endpoint.rstrip('/').removesuffix('/v2')
        self._url = f'{base}/v2/images/{image_id}'
        target = split(self._url)
        rules = Rules(
            allowed_schemes=frozenset(PORTS),
            allowed_hosts=frozenset({target.host}),
            allowed_ports=frozenset({target.port}),
        )
        self._guard = Guard(rules, guard.limits)
        self._borrowed = borrowed
        self._tls = tls

    def _secrets(self) -> dict[str, str]:
        return {'X-Auth-Token': self._borrowed.token()}

    def describe(self) -> dict[str, Any]:
        """What it says of the image. `FetchFailed`, `Invalid`."""
        answer = self._guard.open('GET', self._url, tls=self._tls, secrets=self._secrets())
        with contextlib.closing(answer):
            if answer.status in (403, 404):
                raise Invalid('There is no such image there, or none that you may have')
            if answer.status != 200:
                raise FetchFailed(f'The other service answered {answer.status}')
            body = b''
            for piece in answer.pieces(64 * 1024):
                body += piece
                if len(body) > MOST:
                    raise FetchFailed('The other service says too much of the image')
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise FetchFailed('The other service makes no sense')
        return found

    def fetch(self, found: Mapping[str, Any], work: Work, conf: Any) -> int:
        """Bytes that have been fetched."""
        algorithm, value = found.get('os_hash_algo'), found.get('os_hash_value')
        expected = Expected(algorithm, value) if algorithm and value else None
        return (
            Fetch(
                self._guard,
                f'{self._url}/file',
                work.path,
                bounds(conf, work),
                secrets=self._secrets,
                tls=self._tls,
                expected=expected,
                # The data of an active image is always the same.
                constant=True,
                mark=last_mark(work),
                progress=work.told,
                marked=lambda mark: work.keep(noted(mark)),
            )
            .run()
            .size
        )
