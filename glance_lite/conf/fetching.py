# SPDX-License-Identifier: Apache-2.0
"""From where urls that users give may be fetched, and how."""

from __future__ import annotations

from oslo_config import cfg

from glance_lite.conf.lists import bracketed

_ALONE = 'Where it is set, the list of what is not allowed does nothing.'


def _list(name: str, what: str, default: list[str], alone: bool) -> cfg.Opt:
    text = f'{what} {_ALONE}' if alone else what
    return bracketed(name, cfg.types.String(quotes=True), default, text)


def _ports(name: str, what: str, default: list[int]) -> cfg.Opt:
    return bracketed(name, cfg.types.Integer(min=1, max=65535), default, what)


OPTIONS: dict[str, list[cfg.Opt]] = {
    'fetching': [
        cfg.ListOpt(
            'allowed_networks',
            default=[],
            help='Networks that are not public, such as 10.0.0.0/8 or fd00::/8, whose servers urls '
            'of users may name. Without it only public addresses are reached.',
        ),
        cfg.IntOpt(
            'connect_timeout',
            default=10,
            min=1,
            help='Seconds that the server of a url has to take a connection.',
        ),
        cfg.IntOpt(
            'read_timeout',
            default=60,
            min=1,
            help='Seconds that the server of a url may send nothing.',
        ),
        cfg.IntOpt(
            'max_redirects',
            default=5,
            min=0,
            help='Redirects in a row that are followed. Each is checked like the first url.',
        ),
        cfg.IntOpt(
            'max_time',
            default=6 * 3600,
            min=1,
            help='Seconds that fetching the data of an import may take in all.',
        ),
        cfg.IntOpt(
            'retries',
            default=5,
            min=0,
            help='How often in a row a fetch that broke off is tried again, from where it was if '
            'the server can do that.',
        ),
    ],
    'import_filtering_opts': [
        _list('allowed_schemes', 'Schemes of urls that are fetched.', ['http', 'https'], True),
        _list('disallowed_schemes', 'Schemes of urls that are not fetched.', [], False),
        _list(
            'allowed_hosts',
            'Hosts from which urls of users are fetched, and no others. Their addresses are not '
            'looked at, so that they may be private.',
            [],
            True,
        ),
        _list('disallowed_hosts', 'Hosts from which nothing is fetched.', [], False),
        _ports('allowed_ports', f'Ports that urls of users may name. {_ALONE}', [80, 443]),
        _ports('disallowed_ports', 'Ports that urls of users may not name.', []),
    ],
}
