# SPDX-License-Identifier: Apache-2.0
"""The flavor ``keystone`` in process, on a real Keystone and a real memcached."""

from __future__ import annotations

import logging
import sys
import time

import pytest

from glance_lite.errors import ConfigurationError
from glance_lite.stream import Download
from tests.api.harness import PASTE, App
from tests.backends import keystone
from tests.peers.glance33 import free_port

#: Anybody may look at what the community has; Glance's defaults show nothing without a role.
OPEN = '"get_images": ""\n"get_image": ""\n"context_is_admin": "role:admin"\n'


class People:
    """Some users of one region, the tokens of which are asked for once."""

    def __init__(self, relay: keystone.Relay) -> None:
        self.relay = relay
        self.cloud = keystone.cloud()
        self.region = self.cloud.region(relay.url)
        self.alice = self.region.user('alice')
        self.bob = self.region.user('bob')
        shared = (self.alice.project, self.alice.project_id)
        self.reader = self.region.user('reader', roles=('reader',), project=shared)
        self.nova = self.region.user('nova', roles=('service',))
        self.tokens: dict[str, str] = {}

    def token(self, name: str) -> str:
        if name not in self.tokens:
            self.tokens[name] = getattr(self, name).token()
        return self.tokens[name]

    def settings(self, **more: object) -> str:
        once = {'http_request_max_retries': 0, 'http_connect_timeout': 60}
        return self.region.authtoken(self.relay.url, **{**once, **more})


@pytest.fixture(scope='module')
def people():
    with keystone.relay(keystone.cloud().url) as relay:
        yield People(relay)


@pytest.fixture(autouse=True)
def keystone_is_up(people):
    people.relay.up()


@pytest.fixture(scope='module')
def app(people, tmp_path_factory):
    directory = tmp_path_factory.mktemp('keystone')
    app = App(directory, flavor='keystone', more=people.settings(), default='debug = true')
    yield app
    app.close()


def ask(app, token, method='GET', path='/v2/images', body=None, service=None, **headers):
    """A request with a token, and one of a service where there is one."""
    if token is not None:
        headers['X-Auth-Token'] = token
    if service is not None:
        headers['X-Service-Token'] = service
    return app.request(method, path, body, project=None, headers=headers)


def test_roles_and_projects_are_those_of_the_token(app, people):
    made = ask(app, people.token('alice'), 'POST', body={'name': 'mine'})
    assert made.status == 201
    assert made.json['owner'] == people.alice.project_id
    path = '/v2/images/' + made.json['id']
    assert ask(app, people.token('alice'), path=path).status == 200
    assert ask(app, people.token('bob'), path=path).status == 404
    assert ask(app, people.token('reader'), path=path).status == 200
    assert ask(app, people.token('reader'), 'POST', body={'name': 'no'}).status == 403
    assert ask(app, people.token('bob'), 'DELETE', path=path).status == 404
    assert ask(app, people.cloud.admin.session.get_token(), path=path).status == 200


def test_what_a_client_says_of_itself_is_nothing(app, people):
    token = people.token('bob')
    claims = {
        'X-Identity-Status': 'Confirmed',
        'X-Roles': 'admin',
        'X-Project-Id': people.alice.project_id,
        'X-Service-Roles': 'service',
        'X-Service-Identity-Status': 'Confirmed',
    }
    made = ask(app, token, 'POST', body={'name': 'claimed'}, **claims)
    assert made.json['owner'] == people.bob.project_id
    asked_for_all = ask(app, token, path='/v2/images?visibility=all', **claims)
    assert {image['owner'] for image in asked_for_all.json['images']} == {people.bob.project_id}
    assert ask(app, None, **claims).status == 401


def old(people, name='alice', seconds=60):
    """A token that has ended some time ago."""
    return people.cloud.ending(getattr(people, name).token(), time.time() - seconds)


def revoked(people):
    token = people.alice.token()
    people.cloud.revoke(token)
    return token


BAD = {
    'none': lambda people: None,
    'empty': lambda people: '',
    'garbage': lambda people: 'garbage',
    'forged': lambda people: 'gAAAA' + 'x' * 178,
    'latin': lambda people: 'ä ö',
    'long': lambda people: 'x' * 8000,
    'cut': lambda people: people.token('alice')[:-5],
    'expired': old,
    'revoked': revoked,
}


@pytest.mark.parametrize('name', BAD)
def test_a_token_that_is_none_is_401_and_says_where_to_ask(app, people, name):
    answer = ask(app, BAD[name](people))
    assert answer.status == 401
    assert answer.headers['www-authenticate'] == f'Keystone uri="{people.cloud.url}"'
    assert answer.headers['x-openstack-request-id'].startswith('req-')


def test_a_token_ends_although_it_was_seen_before(app, people):
    token = people.cloud.ending(people.alice.token(), time.time() + 8)
    before = ask(app, token).status
    assert before == 200
    deadline = time.monotonic() + 60
    while ask(app, token).status == 200 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert ask(app, token).status == 401


def test_a_revoked_token_lives_no_longer_than_the_cache_says(make_app, people):
    app = make_app(flavor='keystone', more=people.settings(token_cache_time=1))
    token = people.alice.token()
    assert ask(app, token).status == 200
    people.cloud.revoke(token)
    time.sleep(2.1)
    assert ask(app, token).status == 401


# --- tokens of services


def test_a_service_carries_on_with_a_token_that_has_ended(app, people):
    assert ask(app, old(people), service=people.token('nova')).status == 200


def test_only_the_role_service_makes_a_service(app, people):
    assert ask(app, old(people), service=people.token('bob')).status == 401


def test_an_ended_token_of_a_service_helps_nobody(app, people):
    assert ask(app, old(people), service=old(people, 'nova')).status == 401


def test_an_invalid_service_token_is_not_passed_over(app, people):
    for bad in ('garbage', old(people, 'nova'), people.token('bob')):
        assert ask(app, people.token('alice'), service=bad).status == 401
    assert ask(app, people.token('alice'), service=people.token('nova')).status == 200


def test_a_restricted_credential_does_only_what_it_may(app, people):
    mine = people.alice.connect()
    rules = [
        {'service': 'image', 'method': 'GET', 'path': '/v2/images'},
        {'service': 'image', 'method': 'GET', 'path': '/v2/images/**'},
    ]
    made = mine.identity.create_application_credential(
        people.alice.user_id, 'only looks', access_rules=rules
    )
    body = {'auth': {'identity': {
        'methods': ['application_credential'],
        'application_credential': {'id': made.id, 'secret': made.secret},
    }}}  # fmt: skip
    answer = mine.session.post(f'{people.cloud.url}/auth/tokens', json=body, authenticated=False)
    # Others are not told that there are rules to keep, and refuse the token.
    token = answer.headers['X-Subject-Token']
    assert ask(app, token).status == 200
    assert ask(app, token, 'POST', body={'name': 'no'}).status == 401
    # A service token lifts the restriction, so it has to be one.
    assert ask(app, token, 'POST', body={'name': 'no'}, service='garbage').status == 401
    assert ask(app, token, 'POST', body={'name': 'no'}, service=people.token('bob')).status == 401
    assert ask(app, token, 'POST', body={'name': 'y'}, service=people.token('nova')).status == 201


# --- without a token


def test_anonymous_reads_what_policy_shows_and_changes_nothing(make_app, people, tmp_path):
    (tmp_path / 'policy.yaml').write_text(OPEN)
    app = make_app(
        flavor='keystone', default='allow_anonymous_access = true', more=people.settings()
    )
    fields = {'name': 'for all', 'visibility': 'community'}
    made = ask(app, people.token('alice'), 'POST', body=fields).json
    private = ask(app, people.token('alice'), 'POST', body={'visibility': 'private'}).json
    for nobody in (None, 'garbage'):
        assert ask(app, nobody, path=f'/v2/images/{made["id"]}').status == 200
        assert ask(app, nobody, path=f'/v2/images/{private["id"]}').status == 404
        assert ask(app, nobody, 'POST', body={'name': 'no'}).status == 403
        assert ask(app, nobody, 'DELETE', f'/v2/images/{made["id"]}').status == 403
    # They need no Keystone; a token that cannot be checked is not taken for none.
    people.relay.down()
    assert ask(app, None, path=f'/v2/images/{made["id"]}').status == 200
    assert ask(app, people.bob.token(), path=f'/v2/images/{made["id"]}').status == 503


@pytest.fixture
def not_delayed(tmp_path):
    """A Paste file that leaves the decision to auth_token."""
    text = PASTE.read_text()
    file = tmp_path / 'paste.ini'
    line = 'delay_auth_decision = true'
    assert line in text
    file.write_text(text.replace(line, 'delay_auth_decision = false'))
    return file


def test_auth_token_decides_by_itself(make_app, people, not_delayed):
    app = make_app(flavor='keystone', paste=not_delayed, more=people.settings())
    for bad in (None, 'garbage'):
        answer = ask(app, bad)
        assert answer.status == 401
        assert answer.headers['www-authenticate'] == f'Keystone uri="{people.cloud.url}"'
        assert answer.json['error']['code'] == 401
    assert ask(app, people.token('alice')).status == 200
    people.relay.down()
    assert ask(app, people.bob.token()).status == 503


# --- Keystone out of order


@pytest.mark.parametrize('how', ['down', 'silent', 'broken'])
def test_keystone_out_of_order_is_503(make_app, people, how, caplog):
    patience = 2 if how == 'silent' else 60
    app = make_app(flavor='keystone', more=people.settings(http_connect_timeout=patience))
    token = people.bob.token()
    getattr(people.relay, how)()
    answer = ask(app, token, Accept='application/json')
    assert answer.status == 503
    assert int(answer.headers['retry-after']) > 0
    assert 'identity service' in answer.json['message']
    told = [line.getMessage() for line in caplog.records if line.levelno == logging.CRITICAL]
    assert len(told) == 1 and told[0].startswith('Unable to validate token: ')
    assert not [line for line in caplog.records if line.exc_info and line.levelno > logging.DEBUG]
    people.relay.up()
    deadline = time.monotonic() + 60
    while ask(app, token).status == 503 and time.monotonic() < deadline:
        pass  # two seconds may be short on a busy machine
    assert ask(app, token).status == 200


def test_a_service_user_that_keystone_refuses_is_503(make_app, people, caplog):
    app = make_app(flavor='keystone', more=people.settings(password='wrong'))
    assert ask(app, people.token('alice')).status == 503
    assert 'rejected authorization' in caplog.text


def test_a_region_without_keystone_is_503(make_app, people, caplog):
    app = make_app(flavor='keystone', more=people.settings(region_name='nowhere'))
    assert ask(app, people.token('alice')).status == 503
    assert 'Unable to validate token' in caplog.text
    assert 'Traceback' not in caplog.text


# --- the cache of tokens


@pytest.mark.parametrize('more', [
    {},
    {'memcache_security_strategy': 'ENCRYPT', 'memcache_secret_key': 'long and secret'},
    {'memcache_use_advanced_pool': 'false'},
], ids=['plain', 'encrypted', 'simple'])  # fmt: skip
def test_processes_share_what_they_know_in_memcached(people, tmp_path, more):
    settings = people.settings(memcached_servers=keystone.memcached(), **more)
    token = people.alice.token()
    asked = []
    for name in ('first', 'second'):
        (tmp_path / name).mkdir()
        app = App(tmp_path / name, flavor='keystone', more=settings)
        before = people.relay.validations()
        assert ask(app, token).status == 200
        assert ask(app, token).status == 200
        asked.append(people.relay.validations() - before)
        app.close()
    assert asked == [1, 0]


def test_without_memcached_tokens_are_checked_each_time(make_app, people):
    nobody = f'127.0.0.1:{free_port()}'
    app = make_app(flavor='keystone', more=people.settings(memcached_servers=nobody))
    before = people.relay.validations()
    for _ in range(3):
        assert ask(app, people.token('alice')).status == 200
    assert people.relay.validations() - before == 3


def test_a_cache_that_fails_knows_nothing(make_app, people, monkeypatch, caplog):
    """As memcached's library does when all its connections are in use, or the data is bad."""
    app = make_app(flavor='keystone', more=people.settings(memcached_servers=keystone.memcached()))

    def fail(*args, **kwargs):
        raise RuntimeError('no connection is free')

    import memcache

    monkeypatch.setattr(memcache.Client, 'get', fail)
    monkeypatch.setattr(memcache.Client, 'set', fail)
    assert ask(app, people.token('alice')).status == 200
    assert 'The token cache cannot be read: RuntimeError: no connection is free' in caplog.text


# --- the start


@pytest.mark.parametrize('change, words', [
    ({'auth_type': ''}, ('[keystone_authtoken] auth_type is not set',)),
    ({'auth_type': 'nosuch'}, ('paste.ini', 'nosuch')),
    ({'memcached_servers': '127.0.0.1:1', 'memcache_security_strategy': 'ENCRYPT'},
     ('memcache_secret_key',)),
])  # fmt: skip
def test_settings_that_cannot_work_stop_the_start(make_app, people, change, words):
    with pytest.raises(ConfigurationError) as raised:
        make_app(flavor='keystone', more=people.settings(**change))
    message = str(raised.value)
    assert '\n' not in message
    for word in words:
        assert word in message


def test_a_missing_library_for_memcached_stops_the_start(make_app, people, monkeypatch):
    monkeypatch.setitem(sys.modules, 'memcache', None)
    monkeypatch.delitem(sys.modules, 'oslo_cache._memcache_pool', raising=False)
    monkeypatch.delattr('oslo_cache._memcache_pool', raising=False)
    with pytest.raises(ConfigurationError, match=r'pip install glance-lite\[memcached\]'):
        make_app(flavor='keystone', more=people.settings(memcached_servers='127.0.0.1:1'))


# --- what is written and what goes out


def test_nothing_of_a_token_is_logged(make_app, people, caplog):
    """With every logger there is saying all it knows."""
    app = make_app(flavor='keystone', more=people.settings(memcached_servers=keystone.memcached()))
    good, late, gone = people.alice.token(), old(people), revoked(people)
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    try:
        assert ask(app, good, service=people.token('nova')).status == 200
        for bad in (late, gone, 'gAAAA-forged-' + 'x' * 100):
            assert ask(app, bad).status == 401
            assert ask(app, good, service=bad).status == 401
        people.relay.down()
        assert ask(app, people.bob.token()).status == 503
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    written = caplog.text
    assert 'keystoneauth' in written and 'keystonemiddleware' in written
    for secret in (good, late, gone, people.token('nova'), 'gAAAA-forged', keystone.PASSWORD):
        assert secret not in written, [
            (line.name, line.levelname, line.getMessage()[:300])
            for line in caplog.records if secret in line.getMessage()
        ]  # fmt: skip


def test_data_goes_out_as_a_file_through_auth_token(app, people):
    token = people.token('alice')
    fields = {'disk_format': 'raw', 'container_format': 'bare'}
    image = ask(app, token, 'POST', body=fields).json
    path = f'/v2/images/{image["id"]}/file'
    put = app.request(
        'PUT', path, b'data', project=None, kind='application/octet-stream',
        headers={'X-Auth-Token': token},
    )  # fmt: skip
    assert put.status == 204
    environ = app.environ('GET', path, project=None, headers={'X-Auth-Token': token})
    answer = app.wsgi(environ, lambda status, headers, *rest: None)
    try:
        # Only this may be sent without a copy.
        assert isinstance(answer, Download)
    finally:
        answer.close()
