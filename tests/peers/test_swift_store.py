# SPDX-License-Identifier: Apache-2.0
"""The swift driver and glance_store's on the same Swift: what one has stored the other reads.

glance_store needs a Keystone: of a Swift with users of its own, as older ones of it could use, what
they wrote is laid out here by hand.
"""

from __future__ import annotations

import functools
import uuid
from urllib.parse import quote

import pytest
import requests

from glance_lite.store import ObjectExists, ObjectNotFound
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import pattern
from tests.backends import keystone, swift
from tests.backends.swift_stores import caller_of, keystone_settings, make_store
from tests.peers.published import Published, Refused

pytestmark = pytest.mark.peer

#: what the options for sizes count in
MB = 1000 * 1024
#: (size, whether glance_store is told it): of what is in segments it must be told a multiple
THEIRS = [(0, True), (2 * MB + 1, True), (3 * MB, True), (2 * MB + 5, False)]
OURS = [(0, True), (1, False), (3 * MB + 5, True), (2 * MB + 5, False)]
#: none of the options that say who we are
NOBODY = dict.fromkeys(f'swift_store_{name}' for name in ('auth_address', 'user', 'key'))

REFERENCE = """
[{name}]
auth_version = {version}
auth_address = {address}
user = {user}
key = "{key}"
user_domain_id = default
project_domain_id = default
"""


class Owner:
    """An account of Swift, and what is in it."""

    def __init__(self, server, user, key, address, version, account=None):
        self.user, self.key, self.address = user, key, address
        self._version, self.account = version, account
        self._server = server
        self._asking = requests.Session()
        self._asking.trust_env = False
        if server.scheme == 'https':
            self._asking.verify = server.ca

    def reference(self, name):
        return REFERENCE.format(
            name=name, version=self._version, address=self.address, user=self.user, key=self.key
        )

    @functools.cached_property
    def _access(self):
        """A token, and the url of the account."""
        if self.account is None:
            known = {'X-Auth-User': self.user, 'X-Auth-Key': self.key}
            said = self._asking.get(self._server.auth_url, headers=known, timeout=30).headers
            return said['X-Auth-Token'], said['X-Storage-Url']
        url = f'{self._server.url}/v1/AUTH_{self.account.project_id}'
        return self.account.token(), url

    def ask(self, method, path='', **kwargs):
        token, url = self._access
        headers = {'X-Auth-Token': token, **kwargs.pop('headers', {})}
        answer = self._asking.request(
            method, f'{url}/{path}', headers=headers, timeout=60, **kwargs
        )
        answer.raise_for_status()
        return answer

    def objects(self, beginning):
        """Names of all objects in the containers whose names begin so."""
        containers = self.ask('GET', f'?prefix={beginning}').text.split()
        return [name for one in containers for name in self.ask('GET', one).text.split()]

    def credentials(self):
        """As glance_store writes them into urls."""
        return f'{quote(self.user)}:{quote(self.key)}'


@pytest.fixture(scope='module')
def region():
    region = keystone.cloud().region()
    swift.serve(swift.swift('keystone'), region)
    return region


def of_keystone(region):
    account = region.user('images', roles=(swift.OPERATOR,))
    return Owner(
        swift.swift('keystone'),
        f'{account.project}:{account.name}',
        keystone.PASSWORD,
        region.cloud.url,
        '3',
        account,
    )


@pytest.fixture(scope='module')
def owner(region):
    return of_keystone(region)


@pytest.fixture(scope='module')
def other(region):
    return of_keystone(region)


@pytest.fixture(scope='module', params=['one container', 'by seed'])
def both(request, owner, other, region, tmp_path_factory):
    """Our driver and theirs: as the only store, with a file of references, or one of several."""
    options = keystone_settings(region, owner.account)
    alone = request.param == 'one container'
    if alone:
        file = tmp_path_factory.mktemp('swift') / 'swift.conf'
        file.write_text(owner.reference('new') + other.reference('old'))
        options |= {
            **NOBODY,
            'swift_store_config_file': str(file),
            'default_swift_reference': 'new',
        }
    else:
        options['swift_store_multiple_containers_seed'] = 2
    ours = make_store(swift.swift('keystone'), **options)
    with published(ours, several=not alone) as theirs:
        yield ours, theirs


def published(ours, **more):
    """Theirs does without the options that have no value, and takes only 3 for the version.

    References may say something else there.
    """
    options = {name: value for name, value in ours.settings.items() if value is not None}
    del options['swift_store_auth_version']
    return Published('swift', options, **more)


@pytest.fixture
def ours(both, owner):
    ours, _ = both
    yield ours
    assert owner.objects(ours.settings['swift_store_container']) == []


@pytest.fixture
def theirs(both):
    return both[1]


@pytest.fixture
def name():
    return str(uuid.uuid4())


def read(driver, url, *part):
    return b''.join(driver.get(driver.parse(url), *part))


def remove(driver, url):
    driver.delete(driver.parse(url))


@pytest.mark.parametrize(('size', 'sized'), THEIRS)
def test_what_they_store_we_read_size_and_delete(ours, theirs, name, size, sized):
    data = pattern(size)
    url = theirs.add(name, data, 'swift+config', sized)
    (mine,) = ours.locate(name)
    for one in (url, mine):
        assert read(ours, one) == data and ours.size(ours.parse(one)) == size
        assert read(ours, one, MB - 2, 4) == data[MB - 2 : MB + 2]
    assert [(found, length) for found, length, _ in ours.list()] == [(mine, size)]
    with pytest.raises(ObjectExists):
        ours.add(name, Source(b'other'), 5)
    assert theirs.get(url) == data
    remove(ours, url)
    with pytest.raises(Refused, match='NotFound'):
        theirs.get(url)


@pytest.mark.parametrize(('size', 'sized'), OURS)
def test_what_we_store_they_read_size_and_delete(ours, theirs, name, size, sized):
    data = pattern(size)
    url = ours.add(name, Source(data, sized=sized), size if sized else None)
    assert theirs.get(url) == data and theirs.size(url) == size
    theirs.delete(url)
    with pytest.raises(ObjectNotFound):
        ours.size(ours.parse(url))


@pytest.mark.parametrize('both', ['by seed'], indirect=True)
@pytest.mark.parametrize('size', [10, 3 * MB])
def test_an_upload_of_theirs_during_one_of_ours_stays(ours, theirs, name, size):
    """They look for nothing before they write; so it is us who give up."""
    data = pattern(size)

    def attempt():
        theirs.add(name, data, 'swift+config')

    mine = Source(bytes(3 * MB + 5), stall_at=2 * MB, stall=attempt)
    with pytest.raises(ObjectExists):
        ours.add(name, mine, 3 * MB + 5)
    (url,) = ours.locate(name)
    assert read(ours, url) == theirs.get(url) == data
    theirs.delete(url)


@pytest.mark.parametrize('both', ['one container'], indirect=True)
def test_urls_with_credentials(ours, theirs, owner, other, name):
    """Of any account and container, with the version in the path and without."""
    container = f'{ours.settings["swift_store_container"]}-formerly'
    scheme, _, address = owner.address.partition('://')
    for who in (owner, other):
        who.ask('PUT', container)
        for path in (address, address.removesuffix('/v3')):
            url = f'swift+{scheme}://{who.credentials()}@{path}/{container}/{name}'
            for delete in (functools.partial(remove, ours), theirs.delete):
                who.ask('PUT', f'{container}/{name}', data=b'data')
                assert theirs.get(url) == read(ours, url) == b'data'
                assert theirs.size(url) == ours.size(ours.parse(url)) == 4
                assert who.key not in ours.redact(url)
                delete(url)
                assert who.objects(container) == []
        who.ask('DELETE', container)


@pytest.mark.parametrize('both', ['one container'], indirect=True)
def test_another_reference_and_another_container(ours, theirs, other, name):
    """The configuration has changed since they were written."""
    container = f'{ours.settings["swift_store_container"]}-formerly'
    other.ask('PUT', container)
    former = make_store(
        swift.swift('keystone'),
        **{
            **ours.settings,
            'default_swift_reference': 'old',
            'swift_store_container': container,
            'swift_store_multiple_containers_seed': 0,
        },
    )
    data = pattern(3 * MB + 5)
    for delete in (functools.partial(remove, ours), theirs.delete):
        url = former.add(name, Source(data), len(data))
        assert url == f'swift+config://old/{container}/{name}'
        assert theirs.get(url) == read(ours, url) == data
        assert theirs.size(url) == ours.size(ours.parse(url)) == len(data)
        delete(url)
        assert other.objects(container) == []
    other.ask('DELETE', container)


# --- a Swift with users of its own


@pytest.fixture(scope='module')
def secure():
    """Https, which older urls mean where they do not say."""
    with swift.Alone(tls=True) as alone:
        yield alone.server


def test_a_swift_with_users_of_its_own(secure, name, tmp_path):
    """Theirs does not get in any more: it asks for a Keystone. We read what it once wrote."""
    user, other = (Owner(secure, *who, secure.auth_url, '1') for who in swift.TEMPAUTH.items())
    file = tmp_path / 'swift.conf'
    file.write_text(user.reference('new') + other.reference('old'))
    ours = make_store(
        secure,
        **NOBODY,
        swift_store_config_file=str(file),
        default_swift_reference='new',
        swift_store_cacert=secure.ca,
    )
    container = ours.settings['swift_store_container']
    address = secure.auth_url.removeprefix('https://')
    data = pattern(2 * MB + 5)
    url = ours.add(name, Source(data, sized=False), None)
    with published(ours) as theirs:
        for ask in (theirs.get, theirs.delete):
            with pytest.raises(Refused):
                ask(url)
    remove(ours, url)
    other.ask('PUT', container)
    for who, form in (
        (user, 'swift+config://new'),
        (other, 'swift+config://old'),
        (user, f'swift://{user.credentials()}@{address}'),
        (other, f'swift+https://{other.credentials()}@{address}'),
    ):
        url = f'{form}/{container}/{name}'
        for number, start in enumerate((0, MB, 2 * MB), 1):
            piece = data[start : start + MB]
            who.ask('PUT', f'{container}/{name}-{number:05d}', data=piece)
        manifest = {'X-Object-Manifest': f'{container}/{name}-'}
        who.ask('PUT', f'{container}/{name}', headers=manifest)
        assert read(ours, url) == data and ours.size(ours.parse(url)) == len(data)
        remove(ours, url)
        assert who.objects(container) == []


# --- each project in its own account


@pytest.fixture(scope='module')
def project(region):
    return of_keystone(region)


@pytest.fixture(scope='module')
def tenants(region, owner, project):
    """Our driver for the project, and theirs."""
    ours = make_store(
        swift.swift('keystone'),
        **keystone_settings(region, owner.account),
        swift_store_multi_tenant=True,
        swift_store_admin_tenants=['of-admins'],
    )
    caller = caller_of(project.account)
    context = {
        'auth_token': caller.token,
        'project_id': caller.project_id,
        'user_id': project.account.user_id,
        'service_catalog': caller.catalog,
    }
    with published(ours, context=context) as theirs:
        yield ours.acting_for(caller), theirs


@pytest.mark.parametrize(('size', 'sized'), [(1, True), (2 * MB + 5, False)])
def test_a_store_in_which_each_project_has_an_account(tenants, project, name, size, sized):
    ours, theirs = tenants
    data = pattern(size)
    here = ours.settings['swift_store_container']
    urls = []
    for one in (ours, theirs):
        if one is ours:
            url = ours.add(name, Source(data, sized=sized), size if sized else None)
        else:
            url = theirs.add(name, data, sized=sized)
        urls.append(url)
        assert theirs.get(url) == read(ours, url) == data
        assert theirs.size(url) == ours.size(ours.parse(url)) == size
        # and who has not written it removes it, with the container
        if one is theirs:
            remove(ours, url)
        else:
            theirs.delete(url)
        assert project.ask('GET', f'?prefix={here}').text.split() == []
    assert urls[0] == urls[1] and f'/AUTH_{project.account.project_id}/{here}_{name}/{name}' in url


def test_both_let_the_same_projects_read(tenants, project, name):
    ours, theirs = tenants
    url = ours.add(name, Source(b'data'), 4)
    container = f'{ours.settings["swift_store_container"]}_{name}'

    def said():
        headers = project.ask('HEAD', container).headers
        return headers.get('X-Container-Read', ''), headers.get('X-Container-Write', '')

    for public, projects in ((True, []), (False, ['one', 'two']), (False, []), (True, ['one'])):
        theirs.acl(url, public, projects)
        expected = said()
        ours.acl(ours.parse(url), not public, ['another'])
        assert said() != expected
        ours.acl(ours.parse(url), public, projects)
        assert said() == expected
    remove(ours, url)
