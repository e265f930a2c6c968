# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-cache-manage``: asks an image service what its host has in its cache.

Each host has a cache of its own, so the service is asked at an address and not found in a
catalogue. Who asks is told as to all clients of OpenStack: by options or ``OS_`` variables.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keystoneauth1 import exceptions, loading
from keystoneauth1 import session as sessions

from glance_lite.cmd.output import human

#: Characters of the body of an error, which may be anything, that are shown.
LONGEST = 500


class Failed(Exception):
    """The text says why."""


class Client:
    """Requests to one service."""

    def __init__(self, session: Any, url: str, token: str | None) -> None:
        self._session = session
        self._url = url.rstrip('/') + '/v2'
        self._token = token

    def __call__(self, method: str, path: str, **headers: str) -> Any:
        """What a request answers, of JSON. `Failed`."""
        headers['Accept'] = 'application/json'
        if self._token:
            headers['X-Auth-Token'] = self._token
        try:
            answer = self._session.request(
                self._url + path,
                method,
                headers=headers,
                authenticated=self._session.auth is not None,
                raise_exc=False,
                redirect=False,
            )
        except exceptions.ClientException as ex:
            raise Failed(' '.join(str(ex).split())) from ex
        if answer.status_code >= 300:
            raise Failed(f'{method} {path}: {_reason(answer)}')
        return answer.json() if answer.content else None


def _reason(answer: Any) -> str:
    try:
        text = str(answer.json()['message'])
    except (ValueError, KeyError, TypeError):
        text = answer.text
    return f'{answer.status_code} {" ".join(text[:LONGEST].split())}'


def _path(image_id: str) -> str:
    return '/cache/' + urllib.parse.quote(image_id, safe='')


# --- commands


def list_cached(ask: Client, args: argparse.Namespace) -> None:
    found = ask('GET', '/cache')['cached_images']
    if args.format == 'json':
        print(json.dumps(found, indent=2))
        return
    if not found:
        print('No images are cached')
        return
    print(f'{"ID":<36}  {"Last used (UTC)":<19}  {"Cached (UTC)":<19}  {"Size":>11}  {"Hits":>8}')
    for one in sorted(found, key=lambda one: one['image_id']):
        print(
            f'{one["image_id"]:<36}  {_moment(one["last_accessed"])}  '
            f'{_moment(one["last_modified"])}  {human(one["size"]):>11}  {one["hits"]:>8}'
        )


def _moment(seconds: float) -> str:
    return f'{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M:%S}'


def list_queued(ask: Client, args: argparse.Namespace) -> None:
    found = ask('GET', '/cache')['queued_images']
    if args.format == 'json':
        print(json.dumps(found, indent=2))
    else:
        print('\n'.join(found) or 'No images wait')


def list_nodes(ask: Client, args: argparse.Namespace) -> None:
    found = ask('GET', '/cache/nodes/' + urllib.parse.quote(args.image_id[0], safe=''))
    print(json.dumps(found, indent=2) if args.format == 'json' else '\n'.join(found))


def queue_image(ask: Client, args: argparse.Namespace) -> None:
    for image_id in args.image_id:
        _sure(args, f'Fetch image {image_id} into the cache?')
        ask('PUT', _path(image_id))
        print(f'Image {image_id} is queued')


def delete_cached_image(ask: Client, args: argparse.Namespace) -> None:
    for image_id in args.image_id:
        _sure(args, f'Drop image {image_id} from the cache?')
        ask('DELETE', _path(image_id))
        print(f'Image {image_id} is not cached')


def delete_queued_image(ask: Client, args: argparse.Namespace) -> None:
    for image_id in args.image_id:
        if image_id not in ask('GET', '/cache')['queued_images']:
            raise Failed(f'Image {image_id} does not wait')
        _sure(args, f'Drop image {image_id} from the queue?')
        ask('DELETE', _path(image_id))
        print(f'Image {image_id} does not wait any more')


def delete_all_cached_images(ask: Client, args: argparse.Namespace) -> None:
    _clear(ask, args, 'cache', 'Drop all images from the cache?')


def delete_all_queued_images(ask: Client, args: argparse.Namespace) -> None:
    _clear(ask, args, 'queue', 'Drop all images from the queue?')


def _clear(ask: Client, args: argparse.Namespace, target: str, question: str) -> None:
    _sure(args, question)
    ask('DELETE', '/cache', **{'x-image-cache-clear-target': target})
    print(f'The {target} is empty')


def clean(ask: Client, args: argparse.Namespace) -> None:
    ask('POST', '/cache/clean')
    print('The cache is clean')


def prune(ask: Client, args: argparse.Namespace) -> None:
    found = ask('POST', '/cache/prune')
    size = human(found['total_bytes_pruned'])
    print(f'{found["total_files_pruned"]} files removed, {size}')


def _sure(args: argparse.Namespace, question: str) -> None:
    if args.force:
        return
    if not sys.stdin.isatty():
        raise Failed('Nobody can be asked here: use --force')
    if input(f'{question} [y/N] ').strip().lower() not in ('y', 'yes'):
        raise Failed('Nothing more is done')


#: name -> (what does it, how many images it takes, what it does)
COMMANDS: Mapping[str, tuple[Callable[[Client, argparse.Namespace], None], str, str]] = {
    'list-cached': (list_cached, '', 'show what is cached'),
    'list-queued': (list_queued, '', 'show what waits to be fetched'),
    'list-nodes': (list_nodes, '1', 'show which hosts have an image in their cache'),
    'queue-image': (queue_image, '+', 'have images fetched into the cache'),
    'delete-cached-image': (delete_cached_image, '+', 'drop images from the cache'),
    'delete-all-cached-images': (delete_all_cached_images, '', 'drop all images from the cache'),
    'delete-queued-image': (delete_queued_image, '+', 'drop images from the queue'),
    'delete-all-queued-images': (delete_all_queued_images, '', 'drop all images from the queue'),
    'clean': (clean, '', 'remove what was given up'),
    'prune': (prune, '', 'come back to the size limit, were it made smaller'),
}


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='glance-lite-cache-manage',
        description='Asks an image service what its host has in its cache, and changes it.',
        epilog='Without --os-auth-url and --os-auth-token no identity is sent, which is enough '
        'for a service of the flavor local.',
    )
    parser.add_argument('--url', help='where the service is; takes the place of --host and --port')
    parser.add_argument('-H', '--host', default='127.0.0.1', help='default: 127.0.0.1')
    parser.add_argument('-p', '--port', type=int, default=9292, help='default: 9292')
    parser.add_argument('-f', '--force', action='store_true', help='do not ask before it is done')
    parser.add_argument(
        '--format', choices=('text', 'json'), default='text', help='of lists: text (default), JSON'
    )
    parser.add_argument(
        '-A', '--os-auth-token', default=os.environ.get('OS_AUTH_TOKEN'),
        help='a token, instead of credentials (default: OS_AUTH_TOKEN)',
    )  # fmt: skip
    loading.register_session_argparse_arguments(parser)
    # Asks what is in the arguments already, because other plug-ins have other options.
    loading.register_auth_argparse_arguments(parser, list(arguments), default='password')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name, (run, images, text) in COMMANDS.items():
        one = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.')
        one.set_defaults(run=run)
        if images:
            nargs: Any = 1 if images == '1' else images
            one.add_argument('image_id', nargs=nargs, metavar='IMAGE_ID')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    args = _parser(given).parse_args(given)
    token = args.os_auth_token
    try:
        auth = None
        if not token and args.os_auth_url:
            auth = loading.load_auth_from_argparse_arguments(args)
        verify: Any = False if args.insecure else (args.os_cacert or True)
        session = sessions.Session(auth=auth, verify=verify, timeout=args.timeout)
        url = args.url or f'http://{args.host}:{args.port}'
        args.run(Client(session, url, token), args)
    except (Failed, exceptions.ClientException) as ex:
        print(f'glance-lite-cache-manage: {ex}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
