# SPDX-License-Identifier: Apache-2.0
"""The one HTTP client for urls that users give: it goes nowhere but where it may.

A url is checked (scheme, host, port), its name is resolved once, addresses that are not public
are left out, and the connection goes to an address that was looked at, under the url's own
name: nobody can answer one thing to the check and another to the connection. Each redirect is
checked like the first url. What may be reached beyond that is in ``[fetching]`` and Glance's
``[import_filtering_opts]``.

It works in green threads: names are resolved in a native thread, all else is sockets.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from glance_lite import concurrency
from glance_lite.errors import ConfigurationError, FetchFailed, UrlRefused

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PORTS: Mapping[str, int] = {'http': 80, 'https': 443}
#: Longest url.
LONGEST = 4096
#: Most headers of an answer, and most bytes of them. The standard library counts them as well, but
#: others raise its limit, for the whole process: python-swiftclient does when it is imported.
MOST_HEADERS, MOST_BYTES = 100, 64 * 1024

_NAME = re.compile(r'(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*')
#: How a number ends that libc would take for an address in octal, hexadecimal or one piece.
_NUMBER = re.compile(r'(^|\.)(\d+|0x[0-9a-f]*)$')
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Networks of IPv6 whose addresses lead to IPv4 ones: (network, bits after which that begins).
_CARRIERS: tuple[tuple[ipaddress.IPv6Network, int], ...] = (
    (ipaddress.IPv6Network('::ffff:0:0/96'), 96),
    (ipaddress.IPv6Network('::/96'), 96),
    (ipaddress.IPv6Network('64:ff9b::/96'), 96),
    (ipaddress.IPv6Network('2002::/16'), 16),
)

#: What the registries of IANA do not call global, whatever this Python knows of them; clouds have
#: their metadata services in some. Of IPv6, only what has been given out at all is public.
_NOT_PUBLIC: tuple[Network, ...] = (
    ipaddress.IPv4Network('192.0.0.0/24'),
    ipaddress.IPv4Network('192.88.99.0/24'),
    ipaddress.IPv6Network('3fff::/20'),
)
_GIVEN_OUT = ipaddress.IPv6Network('2000::/3')

#: Names are looked up here under the green server, whose resolver would hold up everybody.
RESOLVING = concurrency.Pool('resolving', 8)


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """A url, taken apart and found to be well-formed."""

    scheme: str
    #: a name in lower case, or an address without brackets
    host: str
    port: int
    #: path and query, as they are sent
    path: str
    credentials: str | None = dataclasses.field(default=None, repr=False)

    @property
    def authority(self) -> str:
        host = f'[{self.host}]' if ':' in self.host else self.host
        return host if self.port == PORTS.get(self.scheme) else f'{host}:{self.port}'

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


def split(url: str) -> Target:
    """Take a url apart. It is hostile. Raises `UrlRefused`."""
    if len(url) > LONGEST or any(c <= ' ' or c in '\\\x7f' for c in url):
        raise UrlRefused('The url is too long or has characters that a url cannot have')
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        encoded = quote(parts.path or '/', safe="/%:=&~+!$,;'@()*")
        query = quote(parts.query, safe="/?%:=&~+!$,;'@()*")
    except ValueError:
        raise UrlRefused('The url is not well-formed') from None
    if not host or port == 0:
        raise UrlRefused('The url names no host, or port 0')
    credentials = None
    if parts.username is not None:
        credentials = f'{unquote(parts.username)}:{unquote(parts.password or "")}'
    return Target(
        parts.scheme.lower(),
        _host(host),
        port or PORTS.get(parts.scheme.lower(), 0),
        f'{encoded}?{query}' if query else encoded,
        credentials,
    )


def _host(host: str) -> str:
    if ':' in host:
        try:
            return str(ipaddress.IPv6Address(host)) if '%' not in host else _no_host()
        except ValueError:
            _no_host()
    host = host.lower().removesuffix('.')
    if not _NAME.fullmatch(host):
        _no_host()
    if _NUMBER.search(host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            _no_host()
    return host


def _no_host() -> Any:
    raise UrlRefused('The host of the url is neither a name nor a common form of an address')


def redact(url: str) -> str:
    """A url without credentials and without its query, which may be a signature."""
    head, _, rest = url.partition('://')
    authority, slash, path = rest.partition('/')
    _, at, host = authority.rpartition('@')
    path, query, _ = path.partition('?')
    secret = '***@' if at else ''
    return f'{head}://{secret}{host}{slash}{path}{"?***" if query else ""}'


@dataclasses.dataclass(frozen=True)
class Rules:
    """What may be reached. Hosts are names or addresses as text."""

    allowed_schemes: frozenset[str] = frozenset({'http', 'https'})
    disallowed_schemes: frozenset[str] = frozenset()
    allowed_hosts: frozenset[str] = frozenset()
    disallowed_hosts: frozenset[str] = frozenset()
    allowed_ports: frozenset[int] = frozenset({80, 443})
    disallowed_ports: frozenset[int] = frozenset()
    #: addresses that are not public and may be reached all the same
    allowed_networks: tuple[Network, ...] = ()

    def check(self, target: Target) -> None:
        """Raises `UrlRefused` by what the url itself says."""
        for what, value, allowed, disallowed in (
            ('scheme', target.scheme, self.allowed_schemes, self.disallowed_schemes),
            ('host', target.host, self.allowed_hosts, self.disallowed_hosts),
            ('port', target.port, self.allowed_ports, self.disallowed_ports),
        ):
            # Where there is a list of what is allowed, the other one says nothing, as in Glance.
            if value not in allowed if allowed else value in disallowed:
                raise UrlRefused(f'This service fetches nothing with the {what} {value}')
        if target.scheme not in PORTS:
            raise UrlRefused('Only http and https urls can be fetched')

    def admits(self, target: Target, address: Address) -> bool:
        """Whether a connection may go to an address of the url's host."""
        if target.host in self.allowed_hosts:
            return True
        forms = {address, *_carried(address)}
        if not self.allowed_hosts and self.disallowed_hosts & {str(form) for form in forms}:
            return False
        return all(self._reachable(form) for form in forms)

    def _reachable(self, address: Address) -> bool:
        if any(address in network for network in self.allowed_networks):
            return True
        if isinstance(address, ipaddress.IPv6Address) and _carried(address):
            return True  # the address inside decides
        if isinstance(address, ipaddress.IPv6Address) and address not in _GIVEN_OUT:
            return False
        if any(address in network for network in _NOT_PUBLIC):
            return False
        return address.is_global and not address.is_multicast


def _carried(address: Address) -> tuple[Address, ...]:
    """IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    found: list[Address] = [
        ipaddress.IPv4Address(int(address) >> (96 - bits) & 0xFFFFFFFF)
        for network, bits in _CARRIERS
        if address in network
    ]
    if address.teredo is not None:
        found += address.teredo
    # The loopback address and the unspecified one look like carriers, and are none.
    return () if int(address) < 2 else tuple(found)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Seconds, and how many redirects in a row are followed."""

    connect: float = 10
    read: float = 60
    redirects: int = 5


class Guard:
    """Opens urls that users gave, by the `Rules`."""

    def __init__(self, rules: Rules | None = None, limits: Limits | None = None) -> None:
        self.rules = rules or Rules()
        self.limits = limits or Limits()

    @classmethod
    def configured(cls, conf: cfg.ConfigOpts) -> Guard:
        """As ``[fetching]`` and ``[import_filtering_opts]`` say. Raises `ConfigurationError`."""
        given, own = conf.import_filtering_opts, conf.fetching
        rules = Rules(
            allowed_schemes=frozenset(given.allowed_schemes),
            disallowed_schemes=frozenset(given.disallowed_schemes),
            allowed_hosts=frozenset(map(_known, given.allowed_hosts)),
            disallowed_hosts=frozenset(map(_known, given.disallowed_hosts)),
            allowed_ports=frozenset(given.allowed_ports),
            disallowed_ports=frozenset(given.disallowed_ports),
            allowed_networks=tuple(map(_network, own.allowed_networks)),
        )
        limits = Limits(own.connect_timeout, own.read_timeout, own.max_redirects)
        return cls(rules, limits)

    def check(self, url: str) -> None:
        """Whether it may be fetched as things are now; asks the resolver. Raises `UrlRefused`."""
        self._addresses(split(url))

    def _addresses(self, target: Target) -> list[str]:
        """Where a connection may go. `UrlRefused`, `FetchFailed`."""
        self.rules.check(target)
        try:
            found = concurrency.blocking(RESOLVING, lambda: resolve(target.host, target.port))
        except (OSError, UnicodeError):
            found = []
        admitted = [text for text in found if self.rules.admits(target, _address(text))]
        if not admitted:
            # One answer for all: what the resolver knows of private names is nobody's business.
            LOG.info(
                'A url was refused: its host has %d addresses, none of which [fetching] '
                'allowed_networks lets us reach',
                len(found),
            )
            raise UrlRefused('The host of the url has no address that may be reached from here')
        return admitted

    def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        proxies: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> Response:
        """The answer, after redirects; the caller closes it. Its body comes as it is stored.

        `secrets` are headers that go to the url's own server only, wherever it leads.
        Through a proxy of `proxies` (scheme -> url), which is the operator's, the connection goes
        to the proxy: it resolves the name again. Raises `UrlRefused`, `FetchFailed`.
        """
        target = split(url)
        credentials = target.credentials
        first = target.origin
        for _ in range(self.limits.redirects + 1):
            sent = {
                'Host': target.authority,
                'Accept-Encoding': 'identity',
                'User-Agent': 'glance-lite',
                **(headers or {}),
            }
            if target.origin == first:
                sent |= secrets or {}
                if credentials is not None:
                    sent |= urllib3.make_headers(basic_auth=credentials)
            answer = self._ask(method, target, sent, tls, (proxies or {}).get(target.scheme))
            if answer.status not in _REDIRECTS or 'location' not in answer.headers:
                return answer
            answer.close()
            target = self._next(target, answer.headers['location'])
        raise UrlRefused(f'The url leads through more than {self.limits.redirects} redirects')

    @staticmethod
    def _next(target: Target, location: str) -> Target:
        base = f'{target.scheme}://{target.authority}{target.path}'
        try:
            following = split(urljoin(base, location))
        except ValueError:
            raise UrlRefused('The url leads to one that is not well-formed') from None
        if target.scheme == 'https' and following.scheme != 'https':
            raise UrlRefused('The url leads from https to a scheme without encryption')
        return following

    def _ask(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        tls: ssl.SSLContext | None,
        proxy: str | None,
    ) -> Response:
        addresses = self._addresses(target)
        failed: Exception | None = None
        for address in addresses:
            pool = self._pool(target, address, tls, proxy)
            try:
                url = target.path
                if isinstance(pool, urllib3.ProxyManager):
                    url = f'{target.scheme}://{target.authority}{target.path}'
                raw = pool.urlopen(
                    method,
                    url,
                    headers=dict(headers),
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                )
            except (HTTPError, OSError, ValueError) as ex:
                _close(pool)
                failed = ex
                continue
            said = raw.headers.items()
            size = sum(len(name) + len(value) for name, value in said)
            if len(said) > MOST_HEADERS or size > MOST_BYTES:
                raw.close()
                _close(pool)
                raise FetchFailed('The server of the url sent too many headers')
            return Response(raw, pool)
        raise FetchFailed(f'The server of the url cannot be reached ({_why(failed)})')

    def _pool(
        self, target: Target, address: str, tls: ssl.SSLContext | None, proxy: str | None
    ) -> Any:
        timeout = urllib3.Timeout(connect=self.limits.connect, read=self.limits.read)
        secure: dict[str, Any] = {}
        if target.scheme == 'https':
            context = tls or ssl.create_default_context()
            checked = target.host if context.verify_mode != ssl.CERT_NONE else False
            secure = {'ssl_context': context, 'assert_hostname': checked}
        if proxy:
            if '://' not in proxy:
                proxy = f'http://{proxy}'
            if 'ssl_context' in secure:
                del secure['assert_hostname']
            return urllib3.ProxyManager(proxy, timeout=timeout, num_pools=1, **secure)
        if secure:
            return urllib3.HTTPSConnectionPool(
                address,
                target.port,
                timeout=timeout,
                maxsize=1,
                server_hostname=target.host,
                **secure,
            )
        return urllib3.HTTPConnectionPool(address, target.port, timeout=timeout, maxsize=1)


class Response:
    """An answer whose body is still to be read."""

    def __init__(self, raw: Any, pool: Any) -> None:
        self._raw = raw
        self._pool = pool
        self.status: int = raw.status
        #: names in any case
        self.headers: Mapping[str, str] = raw.headers

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the server says it."""
        text = self.headers.get('content-length', '')
        return int(text) if re.fullmatch('[0-9]{1,18}', text) else None

    def chunks(self, size: int) -> Iterator[bytes]:
        """The body. Raises `FetchFailed` when it breaks off, before its length as well."""
        return self._body(self._raw.read, size)

    def pieces(self, size: int) -> Iterator[bytes]:
        """The body as it comes in: nobody waits until there are `size` bytes. `FetchFailed`."""
        return self._body(self._raw.read1, size)

    @staticmethod
    def _body(read: Callable[[int], bytes], size: int) -> Iterator[bytes]:
        while True:
            try:
                chunk = read(size)
            except (HTTPError, OSError) as ex:
                raise FetchFailed(f'The server of the url broke off ({_why(ex)})') from None
            if not chunk:
                return
            yield chunk

    def close(self) -> None:
        # The connection goes with it: what is left of the body is not read.
        self._raw.close()
        _close(self._pool)


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the resolver's order, each once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _address(text: str) -> Address:
    return ipaddress.ip_address(text.partition('%')[0])


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ConfigurationError(
            f'[fetching] allowed_networks: {text!r} is not a network such as 10.0.0.0/8'
        ) from None


def _known(host: str) -> str:
    """A host of an operator's list as `split` gives it."""
    return host.strip().strip('[]').lower().removesuffix('.')


def _close(pool: Any) -> None:
    close = getattr(pool, 'close', None) or pool.clear
    close()


def _why(ex: BaseException | None) -> str:
    """The kind of a failure: its text may carry the url."""
    reason = getattr(ex, 'reason', None)
    return type(reason if isinstance(reason, Exception) else ex).__name__
