# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-manage``: the database and the pipeline, from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from oslo_config import cfg

from glance_lite import conf as configuration
from glance_lite import drawing, logs, pipeline
from glance_lite.cmd import cache, maintenance, metadefs, policy, quota, stores
from glance_lite.db import admin, engine, outbox
from glance_lite.errors import GlanceLiteError
from glance_lite.service import Service

DAYS, IMAGE_DAYS, ROWS = 30, 180, 100


def main(arguments: Sequence[str] | None = None, conf: cfg.ConfigOpts = cfg.CONF) -> int:
    """Run one command; the exit code."""
    configuration.register(conf)
    logs.register(conf)
    conf.register_cli_opt(cfg.SubCommandOpt('command', title='Commands', handler=_commands))
    try:
        configuration.parse(
            conf,
            sys.argv[1:] if arguments is None else arguments,
            prog='glance-lite-manage',
            description='Looks after the database of an image service and shows how it is made.',
        )
        if not (conf.log_file or conf.log_dir):
            conf.set_default('use_stderr', True)  # what a command finds goes to standard output
        logs.setup(conf)
        return int(conf.command.run(conf) or 0)
    except GlanceLiteError as ex:
        print(f'glance-lite-manage: {ex}', file=sys.stderr)
        return 1


def _commands(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    db = parsers.add_parser('db', help='the database').add_subparsers(
        dest='db_command', required=True
    )
    for name in ('sync', 'upgrade'):
        _add(db, name, db_sync, 'make the tables, or what is missing of them')
    _add(db, 'version', db_version, 'show the revision of the tables')
    _add(db, 'check', db_check, 'exit with 0 when the tables are up to date, 3 or 5 when not')
    purge = _add(db, 'purge', db_purge, 'remove rows of deleted images for good')
    images = _add(
        db, 'purge_images_table', db_purge_images, 'remove deleted images that purge has left'
    )
    for parser, days in ((purge, DAYS), (images, IMAGE_DAYS)):
        parser.add_argument(
            '--age_in_days',
            type=int,
            default=days,
            help=f'only what was deleted more days ago (default: {days})',
        )
        parser.add_argument(
            '--max_rows',
            type=int,
            default=ROWS,
            help=f'at most so many rows, -1 for all (default: {ROWS})',
        )
    stores.add(parsers)
    maintenance.add(parsers)
    cache.add(parsers)
    events = parsers.add_parser('outbox', help='events that are to be sent').add_subparsers(
        dest='outbox_command', required=True
    )
    _add(events, 'show', outbox_show, 'show how many wait, for how long, and how many were dropped')
    quota.add(parsers)
    metadefs.add(db)
    metadefs.add_old(parsers)
    policy.add(parsers)
    way = parsers.add_parser('pipeline', help='the way of a request').add_subparsers(
        dest='pipeline_command', required=True
    )
    show = _add(way, 'show', pipeline_show, 'show filters, layers, stores and who acts on what')
    show.add_argument(
        '--format', choices=FORMATS, default='text', help='text (default), JSON or a picture'
    )
    show.add_argument('--output', metavar='FILE', help='write it there')


def _add(
    parsers: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[cfg.ConfigOpts], int | None],
    text: str,
) -> argparse.ArgumentParser:
    parser = parsers.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.')
    parser.set_defaults(run=run)
    return parser


# --- db


def db_sync(conf: cfg.ConfigOpts) -> None:
    admin.sync(conf)
    print(f'The database is at {admin.version(conf)}')


def db_version(conf: cfg.ConfigOpts) -> None:
    print(admin.version(conf))


def db_check(conf: cfg.ConfigOpts) -> int:
    code = admin.check(conf)
    print('The database is up to date' if code == admin.UP_TO_DATE else 'Run: db sync')
    return code


def db_purge(conf: cfg.ConfigOpts) -> None:
    command = conf.command
    for table, count in admin.purge(conf, command.age_in_days, command.max_rows).items():
        print(f'{table}: {count} rows removed')


def db_purge_images(conf: cfg.ConfigOpts) -> None:
    command = conf.command
    count = admin.purge_images_table(conf, command.age_in_days, command.max_rows)
    print(f'images: {count} rows removed')


# --- the outbox


def outbox_show(conf: cfg.ConfigOpts) -> None:
    """What waits to be sent, over all hosts."""
    database = engine.Database(conf)
    try:
        found = database.read(outbox.look)
    finally:
        database.dispose()
    print(f'waiting: {found.waiting}')
    if found.age is not None:
        print(f'oldest: {found.age:.0f} s')
    print(f'dropped: {found.dropped}')
    if found.failing_since is not None:
        print(f'failing since: {found.failing_since:%Y-%m-%d %H:%M:%S} UTC')


# --- pipeline


FORMATS: dict[str, Callable[[pipeline.Pipeline], str]] = {
    'text': pipeline.as_text,
    'json': pipeline.as_json,
    'svg': drawing.as_svg,
}


def pipeline_show(conf: cfg.ConfigOpts) -> None:
    """The way of a request, as the configuration makes it."""
    command = conf.command
    written = FORMATS[command.format](pipeline.describe(Service(conf)))
    if command.output is None:
        print(written, end='')
        return
    try:
        with open(command.output, 'w', encoding='utf-8') as file:
            file.write(written)
    except OSError as ex:
        raise GlanceLiteError(f'{command.output} cannot be written: {ex.strerror}') from ex


if __name__ == '__main__':
    sys.exit(main())
