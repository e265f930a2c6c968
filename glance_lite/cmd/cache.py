# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-manage cache``: the cache of this host, without asking its API."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable

from oslo_config import cfg

from glance_lite.cmd.output import Output, add_format, human
from glance_lite.context import service_context
from glance_lite.errors import GlanceLiteError
from glance_lite.service import Service


def add(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    cache = parsers.add_parser('cache', help='the cache of this host').add_subparsers(
        dest='cache_command', required=True
    )

    def command(
        name: str, run: Callable[[cfg.ConfigOpts], int | None], text: str
    ) -> argparse.ArgumentParser:
        parser = cache.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.')
        parser.set_defaults(run=run)
        return parser

    add_format(command('list', show, 'show what is cached, and what waits'))
    command('fetch', fetch, 'fetch what waits; a running service does it by itself')
    command('prune', prune, 'come back to image_cache_max_size, were it made smaller')
    command('clean', clean, 'remove copies that were given up, and what Glance has left')


def _service(conf: cfg.ConfigOpts) -> Service:
    service = Service(conf)
    if not service.gateway.cache.enabled:
        raise GlanceLiteError('[DEFAULT] image_cache_dir: no cache is configured')
    return service


def show(conf: cfg.ConfigOpts) -> None:
    cache = _service(conf).gateway.cache
    cache.start()
    output = Output('cached', conf.command.format)
    for entry in sorted(cache.entries(), key=lambda entry: entry.last_accessed):
        moment = datetime.datetime.fromtimestamp(entry.last_accessed, datetime.UTC)
        output.row(
            f'{entry.key.image_id:<36} {human(entry.key.size):>11} {entry.hits:>8} hits  '
            f'last used {moment:%Y-%m-%d %H:%M:%S} UTC',
            image_id=entry.key.image_id,
            size=entry.key.size,
            hits=entry.hits,
            last_accessed=entry.last_accessed,
            last_modified=entry.last_modified,
        )
    queued = cache.queued()
    used, limit = cache.size()
    text = f'{human(used)} of {human(limit)} are taken, {len(queued)} images wait'
    output.end(text, queued=queued, used=used, limit=limit)


def fetch(conf: cfg.ConfigOpts) -> int:
    """The exit code is 1 if something still waits."""
    service = _service(conf)
    with service.running():
        count = service.chain.inner.fetch_queued(service_context())
    left = len(service.gateway.cache.queued())
    print(f'{count} images fetched, {left} wait')
    return 1 if left else 0


def prune(conf: cfg.ConfigOpts) -> None:
    cache = _service(conf).gateway.cache
    cache.start()
    files, size = cache.prune()
    print(f'{files} files removed, {human(size)}')


def clean(conf: cfg.ConfigOpts) -> None:
    cache = _service(conf).gateway.cache
    cache.start()
    print(f'{cache.clean()} files removed')
