# SPDX-License-Identifier: Apache-2.0
"""glance-lite in this process, for the table of rights."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

from tests.api.harness import TWO_STORES, App
from tests.matrix import table
from tests.matrix.asking import Heard, Send
from tests.matrix.people import Person
from tests.matrix.seeds import Seeds

#: What locations in an image need, and the stores for them; for Glance as well.
CACHE = """
image_cache_dir = {directory}/cache
worker_self_reference_url = http://image-1.example:9292
"""
LOCATIONS = '\nshow_multiple_locations = true\n'
STAGING = '[os_glance_staging_store]\nfilesystem_store_datadir = {directory}/staging\n'
FILES, AND_WEB = 'cheap:file', 'cheap:file,web:http'


@contextlib.contextmanager
def glance_lite(
    directory: pathlib.Path, defaults: str = 'new', default: str = 'allow_anonymous_access = true'
) -> Iterator[tuple[Send, Seeds]]:
    """The whole application, and its seeds."""
    (directory / 'staging').mkdir()
    app = App(
        directory,
        default=default + LOCATIONS + CACHE.format(directory=directory),
        stores=TWO_STORES.replace(FILES, AND_WEB) + STAGING,
        more=table.POLICIES[defaults],
    )

    def send(who: Person, method: str, path: str, body: Any, kind: Any) -> Heard:
        answer = app.request(method, path, body, project=None, headers=who.headers(), kind=kind)
        return Heard(answer.status, answer.headers, answer.body)

    try:
        with contextlib.closing(Seeds(directory / 'glance.sqlite', directory)) as seeds:
            yield send, seeds
    finally:
        app.close()
