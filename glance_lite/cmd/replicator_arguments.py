# SPDX-License-Identifier: Apache-2.0
"""What ``glance-lite-replicator`` understands on its command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

ADDRESS = (
    'http://host:port, host:port, cloud:NAME of clouds.yaml, '
    'or env: for OS_* of the environment (env:EAST for EAST_OS_*)'
)
#: What Glance's replicator leaves out unless it is told otherwise.
DONT = 'created_at date deleted_at location updated_at'

TEXTS = {
    'compare': 'show what differs between two services; exit with 1 if anything does',
    'copy': 'bring images to a service that lacks them, and end copies that were broken off',
    'livecopy': 'as copy, and make attributes and properties alike',
    'sync': 'as livecopy; with --delete remove what the source does not have',
    'dump': 'write images to a directory; one that was broken off goes on',
    'load': 'bring images from a directory to a service',
    'size': 'tell how large a dump would be',
}


def parser(commands: Iterable[str]) -> argparse.ArgumentParser:
    """The parser; the options of all commands may stand before the command as well."""
    made = argparse.ArgumentParser(
        prog='glance-lite-replicator',
        description='Brings images from one Image service to another one, over v2.',
    )
    _common(made, own=True)
    below = made.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name in commands:
        text = TEXTS[name]
        command = below.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.')
        _common(command, own=False)
        _sides(name, command)
    return made


def _sides(name: str, command: argparse.ArgumentParser) -> None:
    if name != 'load':
        command.add_argument('from_address', metavar='FROM', help=ADDRESS)
        _access(command, 'from')
    if name not in ('dump', 'size'):
        command.add_argument('to_address', metavar='TO', help=ADDRESS)
        _access(command, 'to')
    if name in ('dump', 'load'):
        command.add_argument('path', metavar='DIRECTORY')
    if name not in ('compare', 'size'):
        command.add_argument('--dry-run', action='store_true', help='show what would be done')
    if name == 'sync':
        command.add_argument(
            '--delete', action='store_true', help='remove what matches and is not at the source'
        )
    if name == 'load':
        command.add_argument('--update', action='store_true', help='make attributes alike')


def _access(command: argparse.ArgumentParser, side: str) -> None:
    group = command.add_argument_group(f'the side it goes {side}')
    for option, metavar, text in (
        ('endpoint', 'URL', 'where the service is, in place of what the catalog says'),
        ('region', 'NAME', 'region of the catalog'),
        ('interface', 'NAME', 'interface of the catalog (default: public)'),
        ('cacert', 'FILE', 'certificates of authorities'),
    ):
        group.add_argument(f'--{side}-{option}', metavar=metavar, help=text)
    group.add_argument(f'--{side}-insecure', action='store_true', help='verify no certificate')
    for option, metavar, text in (
        ('auth', 'NAME=VALUE', 'an option of keystoneauth, as auth_url=...; several times'),
        ('header', 'NAME:VALUE', 'a header of every request; several times'),
    ):
        group.add_argument(
            f'--{side}-{option}', metavar=metavar, action='append', default=[], help=text
        )


def _common(parser: argparse.ArgumentParser, own: bool) -> None:
    """Options of all commands; the defaults are those of the `own` ones, before the command."""

    def add(*names: str, default: Any = None, **more: Any) -> None:
        parser.add_argument(*names, default=default if own else argparse.SUPPRESS, **more)

    add('-c', '--chunksize', type=_whole, default=2**20, metavar='BYTES',
        help='bytes that are read at a time (default: 1 MiB)')  # fmt: skip
    add('-D', '--dontreplicate', action='append', default=[], metavar='NAMES',
        help=f'attributes and properties that stay as they are (and always: {DONT})')  # fmt: skip
    add('-m', '--metaonly', action='store_true', default=False, help='no data, only what is told')
    add('-t', '--token', help='token for both sides')
    add('-s', '--sourcetoken', '-M', '--mastertoken', dest='sourcetoken', help='token for FROM')
    add('--targettoken', '-S', '--slavetoken', dest='targettoken', help='token for TO')
    add('--filter', action='append', default=[], metavar='NAME=VALUE',
        help='only images that a list with this parameter has; several times')  # fmt: skip
    add('--id', action='append', default=[], help='only this image; several times')
    add('-w', '--workers', type=_whole, default=2, help='images at once (default: 2)')
    add('--attempts', type=_whole, default=3, help='tries for the data of an image (default: 3)')
    add('--timeout', type=float, default=600.0,
        help='seconds of silence after which a connection is given up (default: 600)')  # fmt: skip
    add('-v', '--verbose', action='store_true', default=False,
        help='show images that are the same, too')  # fmt: skip
    add('--format', choices=('text', 'json'), default='text', help='text (default) or JSON')
    add('--json', action='store_const', const='json', dest='format', default='text',
        help='the same as --format json')  # fmt: skip


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError('it must be 1 or more')
    return number
