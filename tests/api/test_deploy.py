# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.metadata

import pytest

from glance_lite import deploy
from glance_lite.errors import ConfigurationError
from tests.api.harness import PASTE, App

#: The shape of Glance's own file, with every factory that it and its predecessors name.
GLANCE = """
[composite:glance-api-old]
paste.composite_factory = glance.api:root_app_factory
/: pipe
/healthcheck: healthcheck

[pipeline:pipe]
pipeline = cors http_proxy_to_wsgi versionnegotiation gzip context cache cachemanage rootapp

[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app

[app:apiversions]
paste.app_factory = glance.api.versions:create_resource

[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory

[app:healthcheck]
paste.app_factory = oslo_middleware:Healthcheck.app_factory
backends = disable_by_file
disable_by_file_path = /dev/null/healthcheck_disable

[filter:versionnegotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory

[filter:cache]
paste.filter_factory = glance.api.middleware.cache:CacheFilter.factory

[filter:cachemanage]
paste.filter_factory = glance.api.middleware.cache_manage:CacheManageFilter.factory

[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory

[filter:gzip]
paste.filter_factory = glance.api.middleware.gzip:GzipMiddleware.factory

[filter:cors]
use = egg:oslo.middleware#cors
oslo_config_project = glance
oslo_config_program = glance-api

[filter:http_proxy_to_wsgi]
paste.filter_factory = oslo_middleware:HTTPProxyToWSGI.factory

[filter:osprofiler]
paste.filter_factory = osprofiler.web:WsgiMiddleware.factory
hmac_keys = SECRET_KEY
enabled = yes
"""


@pytest.fixture
def paste(tmp_path):
    def write(text):
        file = tmp_path / 'paste.ini'
        file.write_text(text)
        return file

    return write


def test_glances_names_are_ours(make_app, paste):
    text = GLANCE.replace('versionnegotiation gzip', 'versionnegotiation osprofiler gzip')
    app = make_app(flavor='old', paste=paste(text))
    image = app.active()
    assert app.get(f'/v2.5/images/{image["id"]}/file').body == b'data'
    assert app.get('/').status == 300
    assert app.get('/healthcheck', project=None).body == b'OK'


def test_gzip(make_app, paste):
    import gzip

    app = make_app(flavor='old', paste=paste(GLANCE))
    image = app.active(b'0' * 5000, foo='x' * 600)
    accepts = {'Accept-Encoding': 'gzip'}
    shown = app.get(f'/v2/images/{image["id"]}', headers=accepts)
    assert shown.headers['content-encoding'] == 'gzip'
    assert b'"foo"' in gzip.decompress(shown.body)
    # The data of an image is what it is.
    assert app.get(f'/v2/images/{image["id"]}/file', headers=accepts).body == b'0' * 5000


def test_configuration_reaches_foreign_filters(make_app, paste):
    """They would read files of their own choice, not those the service was started with."""
    app = make_app(flavor='old', paste=paste(GLANCE), more='[cors]\nallowed_origin = http://a')
    answer = app.get('/v2/images', headers={'Origin': 'http://a'})
    assert answer.headers['access-control-allow-origin'] == 'http://a'


@pytest.mark.parametrize('change, words', [
    (('pipeline =', 'pipeline'), ('paste.ini', 'cannot be read')),
    (('glance-api-old', 'glance-api-new'), ('[paste_deploy] flavor', 'glance-api-old', 'new')),
    (('gzip context', 'nosuch context'), ('paste.ini', 'nosuch')),
    (('glance.api.v2.router:API', 'glance.api.v2.nosuch:API'), ('paste.ini', 'glance')),
    (('osprofiler.web:WsgiMiddleware', 'nosuch.module:Filter'), ('paste.ini', 'nosuch')),
])  # fmt: skip
def test_what_is_wrong_with_a_file_is_one_sentence(make_app, paste, change, words):
    text = GLANCE.replace('versionnegotiation gzip', 'versionnegotiation osprofiler gzip')
    with pytest.raises(ConfigurationError) as raised:
        make_app(flavor='old', paste=paste(text.replace(*change)))
    message = str(raised.value)
    assert '\n' not in message
    for word in words:
        assert word in message, message


def test_a_file_that_is_not_there(make_app, tmp_path):
    with pytest.raises(ConfigurationError, match=r'paste_deploy\] config_file: .*nosuch.ini'):
        make_app(paste=tmp_path / 'nosuch.ini')


FLAVORS = (
    '', 'keystone', 'trusted-auth', 'local', 'caching', 'cachemanagement', 'keystone+caching',
    'keystone+cachemanagement', 'trusted-auth+cachemanagement',
)  # fmt: skip


@pytest.mark.parametrize('flavor', FLAVORS)
def test_our_file_has_every_flavor(tmp_path, flavor):
    app = App(tmp_path, flavor=flavor, more='[keystone_authtoken]\nauth_type = none\n')
    try:
        names = deploy.loader(app.service).pipeline(deploy.application_name(app.service))
        assert names[-1] == 'rootapp'
        assert app.get('/healthcheck', project=None).status == 200
        assert app.get('/', project=None).status == 300
    finally:
        app.close()


def test_every_section_of_our_file_can_be_served():
    text = PASTE.read_text()
    served = {line.split(':')[1].rstrip(']') for line in text.splitlines()
              if line.startswith('[composite:glance-api')}  # fmt: skip
    assert served == {f'glance-api-{flavor}' if flavor else 'glance-api' for flavor in FLAVORS}


def test_every_alias_exists():
    from paste.deploy.util import lookup_object

    eggs = importlib.metadata.entry_points(group='paste.filter_factory')
    for ours in deploy.ALIASES.values():
        if ours.startswith('egg:glance-lite#'):
            assert callable(eggs[ours.partition('#')[2]].load())
        else:
            assert callable(lookup_object(ours))
