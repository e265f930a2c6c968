# SPDX-License-Identifier: Apache-2.0
"""From an error to an answer: the one table, and the body that ``Accept`` asks for."""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Mapping

import webob
from webob.acceptparse import create_accept_header

from glance_lite import errors

LOG = logging.getLogger(__name__)

HTML, JSON = 'text/html', 'application/json'

#: Characters of ``Accept`` that are looked at.
LONGEST_ACCEPT = 1000

#: The first class of an error's ancestry that is here decides.
STATUS: Mapping[type[Exception], int] = {
    errors.Invalid: 400,
    errors.ClientGone: 400,
    errors.NotAuthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.LimitExceeded: 413,
    errors.UnsupportedMedia: 415,
    errors.RangeNotSatisfiable: 416,
    errors.StoreError: 503,
    errors.Unavailable: 503,
}


def status_of(error: BaseException) -> int:
    """The status of an answer to an error; 500 for one that nobody raised on purpose."""
    for kind in type(error).__mro__:
        if kind in STATUS and kind is not errors.StoreError:
            return STATUS[kind]
    return STATUS[errors.StoreError] if isinstance(error, errors.StoreError) else 500


def answer(request: webob.Request, error: BaseException) -> webob.Response:
    """The answer to an error. What nobody expected is logged, and nothing of it is told."""
    status = status_of(error)
    if status == 500:
        LOG.error('Unexpected error', exc_info=error)
        message = 'The server has made a mistake; the request id helps to find it in the logs'
    else:
        message = str(error)
        LOG.debug('Refused with %d: %s', status, message.encode('unicode_escape').decode())
    response = fault(request, status, message)
    if isinstance(error, errors.RangeNotSatisfiable) and error.size is not None:
        response.headers['Content-Range'] = f'bytes */{error.size}'
    if isinstance(error, errors.UnknownPatch):
        response.headers['Accept-Patch'] = ', '.join(error.known)
    if isinstance(error, errors.Unavailable) and error.retry_after is not None:
        response.headers['Retry-After'] = str(error.retry_after)
    return response


def _kind(accept: str) -> str | None:
    """The better of the two kinds of body that a client may ask for; None: plain text.

    What cannot be read asks for anything.
    """
    offers = create_accept_header(accept[:LONGEST_ACCEPT]).acceptable_offers([HTML, JSON])
    return offers[0][0] if offers else None


def fault(
    request: webob.Request,
    status: int,
    message: str,
    headers: Mapping[str, str] | None = None,
) -> webob.Response:
    """An error in the form that the client accepts."""
    response = webob.Response(status=status)
    code = response.status
    title = code.partition(' ')[2]
    kind = _kind(request.environ.get('HTTP_ACCEPT') or '')
    if kind == HTML:
        response.content_type = HTML
        text = html.escape(message)
        body = (
            f'<html>\n <head>\n  <title>{code}</title>\n </head>\n <body>\n'
            f'  <h1>{code}</h1>\n  {text}<br /><br />\n\n\n\n </body>\n</html>'
        )
    elif kind == JSON:
        response.content_type = JSON
        body = json.dumps({'message': message, 'code': code, 'title': title})
    else:
        response.content_type = 'text/plain'
        body = f'{code}\n\n{message}\n'
    if response.content_type != JSON:
        response.charset = 'UTF-8'
    response.body = body.encode('utf-8', 'replace')
    response.headers.update(headers or {})
    return response
