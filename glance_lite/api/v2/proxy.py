# SPDX-License-Identifier: Apache-2.0
"""A request that only another API host can serve, because the staged data lies there."""

from __future__ import annotations

import json
import logging
from typing import Any

import urllib3
import webob

from glance_lite.api import faults

LOG = logging.getLogger(__name__)

#: Seconds until the other host must have answered, as in Glance.
PATIENCE = 60.0

#: What of a request goes on to the other host: who asks, and nothing that says where from.
HEADERS = ('X-Auth-Token', 'X-Service-Token', 'X-Image-Meta-Store', 'X-OpenStack-Request-ID')
#: What a filter of the pipeline has made of the identity, where hosts trust each other.
IDENTITY = ('X-Identity-Status', 'X-User-Id', 'X-Project-Id', 'X-Tenant-Id', 'X-Roles')

#: Says that a request has been sent on already.
MARK = 'X-Glance-Lite-Forwarded'


def forward(request: webob.Request, host: str, body: dict[str, Any]) -> webob.Response:
    """Send a request on; the answer, or 502 and 504 as Glance has them."""
    if MARK in request.headers:
        return faults.fault(request, 409, 'The staged data is not where it was said to be')
    headers = {name: request.headers[name] for name in HEADERS if name in request.headers}
    if 'X-Auth-Token' not in headers:
        headers |= {name: request.headers[name] for name in IDENTITY if name in request.headers}
    headers |= {'Content-Type': 'application/json', MARK: 'yes'}
    url = host.rstrip('/') + request.path
    try:
        answer = urllib3.request(
            request.method,
            url,
            body=json.dumps(body).encode(),
            headers=headers,
            timeout=PATIENCE,
            retries=False,
            redirect=False,
        )
    except (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.NewConnectionError) as ex:
        LOG.error('The host that staged cannot be reached: %s', type(ex).__name__)
        return faults.fault(request, 504, 'The host that has the staged data does not answer')
    except urllib3.exceptions.HTTPError as ex:
        LOG.error('The host that staged has failed: %s', type(ex).__name__)
        return faults.fault(request, 502, 'The host that has the staged data has failed')
    if answer.status // 100 != 2:
        text = 'The host that has the staged data has refused the import'
        return faults.fault(request, answer.status if answer.status < 500 else 502, text)
    return webob.Response(status=answer.status, headerlist=[('Content-Length', '0')])
