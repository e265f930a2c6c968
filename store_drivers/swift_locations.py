# SPDX-License-Identifier: Apache-2.0
"""Whose account an image is in: the file of references, and the urls of all forms.

``swift+config://REFERENCE/CONTAINER/NAME`` is what is written; a reference stands for credentials
that are in the configuration. Older urls contain them, after ``swift://``, ``swift+https://`` or
``swift+http://``: ``USER:KEY@AUTH-ADDRESS/CONTAINER/NAME``. Where each project has an account of
its own, a url is that of the object: ``swift+https://SERVER/v1/ACCOUNT/CONTAINER/NAME``.
"""

from __future__ import annotations

import configparser
import dataclasses
import re
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import quote, unquote, urlsplit

from glance_lite.store import BadStoreConfiguration, BadStoreUri

_URL = re.compile(r'(swift(?:\+(?:https?|config))?)://(?:(.*)@)?([^@?#]+)/([^/@?#]+)/([^/@?#]+)')
_NAME = re.compile('[!-~]{1,1024}')


@dataclasses.dataclass(frozen=True)
class Access:
    """Who we are for a server, and where it is asked for tokens."""

    #: without a slash at the end
    auth_url: str
    #: '1', or '3' for Keystone
    version: str
    #: ``PROJECT:USER``, for version 1 ``ACCOUNT:USER``, or the id of an application credential
    user: str
    key: str = dataclasses.field(repr=False)
    application: bool = False
    #: ``user_domain_id`` and the like, as keystoneauth names them
    domains: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Storage:
    """The account of a project, by its url."""

    url: str


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an image is."""

    account: Access | Storage
    container: str
    name: str


def normal(address: str) -> str:
    """The url of an auth address. Without a scheme it is https. `ValueError`."""
    url = address.strip().rstrip('/')
    parts = urlsplit(url if '://' in url else f'https://{url}')
    if (
        parts.scheme not in ('http', 'https')
        or not parts.hostname
        or '@' in url
        or parts.query
        or parts.fragment
    ):
        raise ValueError('not a url')
    _ = parts.port  # raises ValueError, where it is no number
    return f'{parts.scheme}://{parts.netloc.lower()}{parts.path}'


# --- references


class _Parser(configparser.ConfigParser):
    """An ini file in which a value may stand in quotes."""

    def value(self, section: str, option: str) -> str | None:
        try:
            text = self.get(section, option, fallback='')
        except configparser.InterpolationError:
            text = self.get(section, option, raw=True)  # a password with a percent sign
        if text[:1] in ('"', "'"):
            if len(text) < 2 or text[-1] != text[0]:
                raise ValueError(f'{option}: the quote is not closed')
            text = text[1:-1]
        return text or None


def references(store: str, settings: Mapping[str, Any]) -> dict[str, Access]:
    """The references of a store, by name: of the file, or the one of its options.

    `BadStoreConfiguration`.
    """
    file: str | None = settings['swift_store_config_file']
    default: str = settings['default_swift_reference']
    tenants: bool = settings['swift_store_multi_tenant']
    if file is not None and tenants:
        _wrong(store, 'swift_store_config_file: not with swift_store_multi_tenant')
    if file is None:
        options = {
            name: settings[f'swift_store_{name}']
            for name in _OPTIONS
            if settings[f'swift_store_{name}']
        }
        if not options:
            return {}
        try:
            return {default: _access(options, settings)}
        except ValueError as ex:
            if tenants and set(options) == {'auth_address'}:
                return {}  # which says nothing of who we are
            _wrong(store, f'swift_store_{ex}')
    parser = _Parser()
    found: dict[str, Access] = {}
    section = None
    try:
        with open(file) as lines:
            parser.read_file(lines)
        for section in parser.sections():
            values = {name: parser.value(section, name) for name in _NAMES}
            found[section] = _access({k: v for k, v in values.items() if v}, settings)
    except OSError as ex:
        _wrong(store, f'swift_store_config_file: {file} cannot be read: {ex.strerror}')
    except (configparser.Error, UnicodeDecodeError) as ex:
        # Its text may quote a line, and so a key.
        what = type(ex).__name__
        _wrong(store, f'swift_store_config_file: {file} is no ini file: {what}')
    except ValueError as ex:
        _wrong(store, f'swift_store_config_file: {file}: [{section}] {ex}')
    if default not in found:
        _wrong(store, f'default_swift_reference: {file} has no section {default}')
    return found


_SECRETS = ('application_credential_id', 'application_credential_secret')
_OPTIONS = ('auth_address', 'user', 'key', *_SECRETS)
_DOMAINS = ('user_domain_id', 'user_domain_name', 'project_domain_id', 'project_domain_name')
_NAMES = (*_OPTIONS, *_DOMAINS, 'auth_version')


def _wrong(store: str, reason: str) -> NoReturn:
    raise BadStoreConfiguration(f'[{store}] {reason}') from None


def _access(values: Mapping[str, str], settings: Mapping[str, Any]) -> Access:
    """`ValueError`, which begins with the name of an option."""
    if 'auth_address' not in values:
        raise ValueError('auth_address: must be set')
    try:
        address = normal(values['auth_address'])
    except ValueError:
        raise ValueError('auth_address: must be http://HOST[:PORT]/PATH or https://…') from None
    version = (
        '1' if values.get('auth_version', settings['swift_store_auth_version']) == '1' else '3'
    )
    domains = {name: values[name] for name in _DOMAINS if name in values}
    for kind in ('user', 'project'):
        if not {f'{kind}_domain_id', f'{kind}_domain_name'} & set(domains):
            domains[f'{kind}_domain_id'] = 'default'
    fixed = tuple(sorted(domains.items()))
    if version == '3' and all(name in values for name in _SECRETS):
        identity, secret = (values[name] for name in _SECRETS)
        return Access(address, version, identity, secret, True, fixed)
    for name in ('user', 'key'):
        if name not in values:
            raise ValueError(f'{name}: must be set')
    if ':' not in values['user']:
        raise ValueError('user: must be PROJECT:USER')
    return Access(address, version, values['user'], values['key'], False, fixed)


# --- urls


def redact(url: str) -> str:
    """The url without credentials."""
    scheme, separator, rest = url.partition('://')
    _, at, path = rest.rpartition('@')
    return f'{scheme}{separator}***@{path}' if at else url


def parse(url: str) -> tuple[str, str | None, str, str, str]:
    """(scheme, credentials, what stands for the account, container, name). `BadStoreUri`."""
    found = _URL.fullmatch(url)
    if found is None or not all(_NAME.fullmatch(part) for part in found.groups()[2:]):
        raise BadStoreUri('Not a swift url')
    scheme, credentials, account, container, name = found.groups()
    if {container, name, *account.split('/')} & {'', '.', '..'}:
        raise BadStoreUri('Not a swift url')
    return scheme, credentials, account, container, name


def address(scheme: str, account: str) -> str:
    """The url of a server that stands in the url of an image. `BadStoreUri`."""
    try:
        return normal(f'{"http" if scheme == "swift+http" else "https"}://{account}')
    except ValueError:
        raise BadStoreUri('Not a swift url') from None


def access_of(credentials: str, auth_url: str, known: Mapping[str, Access], own: Access) -> Access:
    """Whose account is meant by an older url with credentials. `BadStoreUri`.

    A user that we know may have another password by now, and a server that we know another path.
    Any other is asked as the url says; nothing is sent there but what the url contains.
    """
    user, key = (unquote(part) for part in credentials.rpartition(':')[::2])
    if ':' not in user or not key:
        raise BadStoreUri('The credentials in the url are not PROJECT:USER:KEY')
    host = urlsplit(auth_url).netloc
    near = [access for access in known.values() if urlsplit(access.auth_url).netloc == host]
    near.sort(key=lambda access: access.auth_url != auth_url)
    for access in near:
        if access.user == user:
            return access
    like = near[0] if near else dataclasses.replace(own, auth_url=auth_url)
    return dataclasses.replace(like, user=user, key=key, application=False)


def access_without(auth_url: str, known: Mapping[str, Access], own: Access) -> Access:
    """Whose account is meant by a url of an auth address alone, as Glance writes for application
    credentials. `BadStoreUri`."""
    for access in (own, *known.values()):
        if access.auth_url == auth_url:
            return access
    raise BadStoreUri('There are no credentials in the url')


def quoted(*parts: str) -> str:
    return '/'.join(quote(part, safe='') for part in parts)


def unquoted(text: str) -> str:
    return unquote(text)
