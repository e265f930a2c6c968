# SPDX-License-Identifier: Apache-2.0
"""Reading requests: every byte is hostile, and what cannot be read is `Invalid`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import webob

from glance_lite.context import RequestContext
from glance_lite.errors import (
    ClientGone,
    Invalid,
    LimitExceeded,
    RangeNotSatisfiable,
    UnsupportedMedia,
)
from glance_lite.model import Span

#: Largest JSON body, in bytes.
LARGEST_BODY = 1024 * 1024
#: Deepest nesting of a JSON body.
DEEPEST = 20

_RANGE = re.compile(r'^bytes=([0-9]{1,20})?-([0-9]{1,20})?$', re.IGNORECASE)
_CONTENT_RANGE = re.compile(r'^bytes (\d{1,20})-(\d{1,20})/(?:\d{1,20}|\*)$')


def context(request: webob.Request) -> RequestContext:
    """Who asks; a Paste filter has found it out."""
    return request.environ['glance_lite.context']  # type: ignore[no-any-return]


def is_text(value: str) -> bool:
    """Whether a database that takes three bytes a character can take it: no lone surrogate,
    nothing beyond the basic plane, no NUL."""
    return all('\0' < character <= '\uffff' for character in value) and not any(
        '\ud800' <= character <= '\udfff' for character in value
    )


def check_text(value: Any, what: str, depth: int = 0) -> None:
    """Refuse what cannot be stored anywhere in a JSON value."""
    if depth > DEEPEST:
        raise Invalid(f'{what} is nested too deeply')
    if isinstance(value, str):
        # PERF: isascii is one call; nearly all values end here.
        if not (value.isascii() and '\0' not in value) and not is_text(value):
            raise Invalid(f'{what} contains characters that cannot be stored')
    elif isinstance(value, dict):
        for key, inner in value.items():
            check_text(key, what, depth + 1)
            check_text(inner, what, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            check_text(inner, what, depth + 1)


def _no_constant(name: str) -> Any:
    raise Invalid(f'{name} is not JSON')


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Invalid('The body has a number that is too large')
    return value


def json_body(request: webob.Request) -> Any:
    """The JSON value of a body. `Invalid`; `LimitExceeded` when it is too long."""
    raw = read_at_most(request, LARGEST_BODY)
    try:
        value = json.loads(raw, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError as ex:
        raise Invalid('The body is nested too deeply') from ex
    except ValueError as ex:
        raise Invalid('The body is not JSON') from ex
    check_text(value, 'The body')
    return value


def read_at_most(request: webob.Request, size: int) -> bytes:
    """The whole body, sized or chunked, which must not be longer than `size` bytes."""
    read, length = body_reader(request)
    if length is not None and length > size:
        raise LimitExceeded(f'A body may have {size} bytes at most')
    raw = bytearray()  # which grows in place, however small the chunks are
    while chunk := read(size + 1 - len(raw)):
        raw += chunk
        if len(raw) > size:
            raise LimitExceeded(f'A body may have {size} bytes at most')
    return bytes(raw)


def json_object(request: webob.Request) -> dict[str, Any]:
    """A body that is a JSON object."""
    value = json_body(request)
    if not isinstance(value, dict):
        raise Invalid('The body must be a JSON object')
    return value


def no_body(environ: Mapping[str, Any]) -> None:
    """For routes that take none."""
    if environ.get('CONTENT_LENGTH') not in (None, '', '0') or 'HTTP_TRANSFER_ENCODING' in environ:
        raise Invalid('This request takes no body')


def query(request: webob.Request) -> list[tuple[str, str]]:
    """The pairs of the query string, in order."""
    raw = request.environ.get('QUERY_STRING', '')
    if not raw:
        return []
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, errors='strict', max_num_fields=1000)
    except ValueError as ex:
        raise Invalid('The query cannot be read') from ex
    for key, value in pairs:
        check_text(key, 'The query')
        check_text(value, 'The query')
    return pairs


def octet_stream(request: webob.Request) -> None:
    """Data must say that it is data."""
    if (request.content_type or '').lower() != 'application/octet-stream':
        raise UnsupportedMedia('The data must be sent as application/octet-stream')


def body_reader(request: webob.Request) -> tuple[Callable[[int], bytes], int | None]:
    """(read, size in bytes or None) of an upload's body."""
    environ = request.environ
    stream = environ['wsgi.input']
    length = environ.get('CONTENT_LENGTH')
    if length:
        if not re.fullmatch('[0-9]{1,19}', length):
            raise Invalid('Content-Length is not a number')
        size = int(length)
        return _limited(_reader(stream), size), size
    if environ.get('wsgi.input_terminated') or 'HTTP_TRANSFER_ENCODING' in environ:
        return _reader(stream), None
    return (lambda count: b''), 0


def body_filler(request: webob.Request, size: int | None) -> Callable[[memoryview], int] | None:
    """What reads an upload's body into memory that is there, where the server can do that.

    `size` is what `body_reader` gave.
    """
    fill = getattr(request.environ['wsgi.input'], 'readinto', None)
    if fill is None or size == 0:
        return None
    left = size

    def readinto(view: memoryview) -> int:
        nonlocal left
        if left == 0:
            return 0
        try:
            count: int = fill(view[:left])
        except (OSError, ValueError) as ex:
            raise ClientGone('The data broke off') from ex
        if left is not None:
            left -= count
        return count

    return readinto


def _reader(stream: Any) -> Callable[[int], bytes]:
    """Reads from a client, who may go away or send chunks that are none."""

    def read(count: int) -> bytes:
        try:
            chunk: bytes = stream.read(count)
        except (OSError, ValueError) as ex:
            raise ClientGone('The data broke off') from ex
        return chunk

    return read


def _limited(source: Callable[[int], bytes], size: int) -> Callable[[int], bytes]:
    left = size

    def read(count: int) -> bytes:
        nonlocal left
        if not left:
            return b''
        chunk = source(min(count, left))
        left -= len(chunk)
        return chunk

    return read


def span(request: webob.Request) -> Span | None:
    """The range that is asked for, by ``Range`` or the old way, by ``Content-Range``."""
    headers = request.environ
    value = headers.get('HTTP_RANGE')
    if value is not None:
        return _range(value)
    value = headers.get('HTTP_CONTENT_RANGE')
    if value is None:
        return None
    match = _CONTENT_RANGE.match(value.strip())
    if match is None or int(match[1]) > int(match[2]):
        raise RangeNotSatisfiable(None, 'Content-Range of a request must be: bytes FIRST-LAST/*')
    return Span(int(match[1]), int(match[2]))


def _range(value: str) -> Span:
    if ',' in value:
        raise Invalid('Range must be one range of bytes, not several')
    match = _RANGE.match(value.replace(' ', ''))
    if match is None or (match[1] is None and match[2] is None):
        raise RangeNotSatisfiable(None, 'Range must be a range of bytes')
    first, last = match[1], match[2]
    if first is None:
        return Span(None, int(last))
    if last is not None and int(last) < int(first):
        raise RangeNotSatisfiable(None, 'The range ends before it begins')
    return Span(int(first), None if last is None else int(last))


def split_list(value: str) -> Iterator[str]:
    """The words of a comma-separated value."""
    return (word.strip() for word in value.split(',') if word.strip())


def json_bytes(body: bytes, status: int = 200) -> webob.Response:
    """An answer whose body is JSON already."""
    # PERF: without a default content type webob makes its headers from this list alone.
    return webob.Response(
        status=status,
        headerlist=[('Content-Type', 'application/json'), ('Content-Length', str(len(body)))],
        app_iter=[body],
    )


def json_answer(value: Any, status: int = 200) -> webob.Response:
    """An answer whose body is `value` as JSON."""
    return json_bytes(json.dumps(value).encode(), status)


def no_content() -> webob.Response:
    """204."""
    return webob.Response(status=204, headerlist=[])


def accepted() -> webob.Response:
    """202, with nothing to say."""
    return webob.Response(status=202, headerlist=[('Content-Length', '0')])


def base_url(request: webob.Request, endpoint: str | None) -> str:
    """Where the service is for this client, without a slash at the end."""
    if endpoint:
        return endpoint.rstrip('/')
    # Paste has moved the version into SCRIPT_NAME; a proxy's prefix is before it.
    url: str = request.application_url
    return url.removesuffix('/v2').rstrip('/')


def declared_size(text: str, length: int | None) -> int:
    """What ``x-openstack-image-size`` says; it must not contradict Content-Length."""
    if not re.fullmatch('[0-9]{1,19}', text):
        raise Invalid('x-openstack-image-size must be a number of bytes')
    size = int(text)
    if length is not None and length != size:
        raise Invalid(f'{size} bytes are declared and {length} are sent')
    return size
