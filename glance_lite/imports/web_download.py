# SPDX-License-Identifier: Apache-2.0
"""``web-download``: the data lies at a url."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from glance_lite import guarded
from glance_lite.errors import Invalid, UrlRefused
from glance_lite.imports.fetch import Bounds, Expected, Fetch, Mark
from glance_lite.imports.method import ImportMethod
from glance_lite.imports.values import Job, Outcome, Work

if TYPE_CHECKING:
    from glance_lite.model import Image

#: What the request may say of the digest, as where a location is added.
VALIDATION = 'validation_data'


class WebDownload(ImportMethod):
    """Fetches ``uri``, which the guarded client must be willing to reach."""

    fields: ClassVar[frozenset[str]] = frozenset({'uri', VALIDATION})

    def validate(self, fields: Mapping[str, Any], image: Image) -> Mapping[str, Any]:
        """Whether the url may be fetched as things are now. `Invalid`, `UrlRefused`."""
        uri = fields.get('uri')
        if not isinstance(uri, str) or not uri:
            raise Invalid('web-download needs a uri')
        if guarded.split(uri).credentials is not None:
            # The task that tells of the import shows the url.
            raise UrlRefused('The url of a web-download must not carry credentials')
        try:
            self.guard.check(uri)
        except UrlRefused as ex:
            # As Glance begins, which its clients and tests look for.
            raise UrlRefused(f'The uri does not pass filtering. {ex.message}') from ex
        kept: dict[str, Any] = {'uri': uri}
        if (said := fields.get(VALIDATION)) is not None:
            expected(said)
            kept[VALIDATION] = said
        return kept

    def fetch(self, job: Job, work: Work) -> Outcome:
        """Fetch it, or what is left of it after a process was killed."""
        said = job.fields.get(VALIDATION)
        Fetch(
            self.guard,
            job.fields['uri'],
            work.path,
            bounds(self.conf, work),
            expected=None if said is None else expected(said),
            mark=last_mark(work),
            progress=work.told,
            marked=lambda mark: work.keep(noted(mark)),
        ).run()
        return Outcome()


def expected(said: Any) -> Expected:
    """The digest that a request says the data has. `Invalid`."""
    if not isinstance(said, dict):
        raise Invalid(f'{VALIDATION} must be an object')
    values = [said.get(name) for name in ('os_hash_algo', 'os_hash_value')]
    if set(said) - {'os_hash_algo', 'os_hash_value'} or not all(
        isinstance(value, str) for value in values
    ):
        raise Invalid(f'{VALIDATION} must have os_hash_algo and os_hash_value, and nothing else')
    return Expected(*values)  # type: ignore[arg-type]


def bounds(conf: Any, work: Work) -> Bounds:
    """As the operator has set them."""
    own = conf.fetching
    return Bounds(size=work.most, seconds=own.max_time, retries=own.retries)


def noted(mark: Mark) -> dict[str, str]:
    """A mark as a step remembers it."""
    return {'mark': json.dumps([mark.offset, mark.version, mark.total])}


def last_mark(work: Work) -> Mark:
    """The last mark of this step; the beginning if there is none."""
    text = work.note.get('mark')
    return Mark(*json.loads(text)) if text else Mark()
