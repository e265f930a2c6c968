# SPDX-License-Identifier: Apache-2.0
"""The Image API v2 as one WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import webob

from glance_lite.api import faults, http
from glance_lite.api.routes import Router
from glance_lite.api.v2.associations import Associations
from glance_lite.api.v2.cache import Cache
from glance_lite.api.v2.data import Data
from glance_lite.api.v2.images import Images
from glance_lite.api.v2.imports import Imports
from glance_lite.api.v2.info import Info, import_methods
from glance_lite.api.v2.locations import Locations
from glance_lite.api.v2.members import Members
from glance_lite.api.v2.metaschemas import Metaschemas
from glance_lite.api.v2.namespaces import Namespaces
from glance_lite.api.v2.objects import Objects
from glance_lite.api.v2.properties import Properties
from glance_lite.api.v2.schemas import ImageSchema, Schemas
from glance_lite.api.v2.tags import Tags
from glance_lite.api.v2.tasks import Tasks
from glance_lite.api.v2.views import ImageView
from glance_lite.errors import Invalid

if TYPE_CHECKING:
    from glance_lite.service import Service

StartResponse = Callable[..., Any]


class Api:
    """Routes a request to its handler, and errors to their answers."""

    def __init__(self, service: Service) -> None:
        conf, chain = service.conf, service.chain.outer
        gateway = service.gateway
        schema = ImageSchema(conf)
        methods = import_methods(conf)
        view = ImageView(
            gateway.multi,
            conf.show_multiple_locations,
            conf.show_image_direct_url,
            gateway.order,
        )
        store_ids = gateway.known_ids() if gateway.multi else ()
        self._router = Router(
            {
                'images': Images(chain, conf, schema, view, methods, store_ids),
                'data': Data(chain),
                'locations': Locations(chain),
                'members': Members(chain),
                'schemas': Schemas(schema),
                'info': Info(chain, methods),
                'namespaces': Namespaces(chain, conf),
                'objects': Objects(chain),
                'properties': Properties(chain),
                'tags': Tags(chain),
                'associations': Associations(chain),
                'metaschemas': Metaschemas(),
                'tasks': Tasks(chain, conf),
                'imports': Imports(chain, methods, gateway.multi),
                'cache': Cache(chain, lambda: service.cache_managed),
            }
        )

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        request = webob.Request(environ)
        try:
            response = self._dispatch(request, environ)
        except Exception as ex:
            response = faults.answer(request, ex)
        answer: Iterable[bytes] = response(environ, start_response)
        return answer

    def _dispatch(self, request: webob.Request, environ: dict[str, Any]) -> webob.Response:
        method = environ['REQUEST_METHOD']
        found = self._router.find(_path(environ))
        if found is None:
            return faults.fault(request, 404, 'The resource could not be found.')
        route, actions, values = found
        watched = environ.get('glance_lite.watched')
        if watched is not None:
            watched.route = route
        action = actions.get(method)
        if action is None:
            allow = {'Allow': ', '.join(actions)}
            return faults.fault(request, 405, f'{method[:20]} is not allowed here', allow)
        if not action.body:
            http.no_body(environ)
        return action.handler(request, **values)


def _path(environ: dict[str, Any]) -> str:
    """The path as text. `Invalid` when it is not UTF-8 or cannot be stored."""
    raw: str = environ['PATH_INFO']
    # PERF: nearly every path is plain ASCII.
    if raw.isascii() and raw.isprintable():
        return raw
    try:
        path = raw.encode('latin-1').decode('utf-8')
    except UnicodeError as ex:
        raise Invalid('The path is not UTF-8') from ex
    if not http.is_text(path):
        raise Invalid('The path contains characters that cannot be stored')
    return path


def api_factory(service: Service, global_conf: dict[str, str], **local_conf: str) -> Api:
    """For Paste: ``paste.app_factory``."""
    return Api(service)
