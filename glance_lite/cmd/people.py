# SPDX-License-Identifier: Apache-2.0
"""A user of a project as Keystone knows them, for commands that speak of somebody by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from keystoneauth1 import exceptions as keystone_errors
from keystoneauth1 import loading
from keystoneauth1.plugin import AUTH_INTERFACE
from oslo_config import cfg

from glance_lite.errors import ConfigurationError, GlanceLiteError, NotFound, Unavailable

GROUP = 'keystone_authtoken'


class Directory:
    """Keystone, asked with the credentials of ``[keystone_authtoken]``."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        loading.register_session_conf_options(conf, GROUP)
        loading.register_auth_conf_options(conf, GROUP)
        try:
            auth = loading.load_auth_from_conf_options(conf, GROUP)
            session = loading.load_session_from_conf_options(conf, GROUP, auth=auth)
        except (keystone_errors.ClientException, cfg.Error, ValueError) as ex:
            raise ConfigurationError(f'[{GROUP}] cannot be used: {type(ex).__name__}') from ex
        if auth is None:
            raise ConfigurationError(f'[{GROUP}] auth_type is not set; Keystone cannot be asked')
        self._session = session

    def find(self, user: str, project: str, domain: str) -> Mapping[str, Any]:
        """What a token of the user for the project would tell: ids, names and roles.

        Each by id or by name; names are looked for in `domain`, an id or a name. `NotFound`,
        `Unavailable`.
        """
        domain_id = self._one('domains', domain, {})['id']
        who = self._one('users', user, {'domain_id': domain_id})
        where = self._one('projects', project, {'domain_id': domain_id})
        query = {'user.id': who['id'], 'scope.project.id': where['id']}
        found = self._get('role_assignments?effective&include_names', query)['role_assignments']
        if not found:
            raise NotFound(f'The user {user} has no role in the project {project}')
        return {
            'user_id': who['id'],
            'user_name': who['name'],
            'user_domain_id': who['domain_id'],
            'project_id': where['id'],
            'project_name': where['name'],
            'project_domain_id': where['domain_id'],
            'roles': sorted({one['role']['name'] for one in found}),
        }

    def _one(self, kind: str, word: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        """The one that has `word` for an id, or else for a name."""
        single = kind[:-1]
        try:
            by_id: Mapping[str, Any] = self._get(f'{kind}/{quote(word, safe="")}', {})[single]
        except NotFound:
            named: Sequence[Mapping[str, Any]] = self._get(kind, {'name': word, **query})[kind]
            if not named:
                raise NotFound(f'Keystone knows no {single} {word}') from None
            return named[0]
        return by_id

    def _get(self, path: str, query: Mapping[str, str]) -> Any:
        # Where tokens come from, whatever the catalog says.
        where = {'service_type': 'identity', 'interface': AUTH_INTERFACE, 'version': '3'}
        try:
            answer = self._session.get(f'/{path}', params=query, endpoint_filter=where)
        except keystone_errors.NotFound as ex:
            raise NotFound(f'Keystone knows no {path}') from ex
        except keystone_errors.Forbidden as ex:
            raise GlanceLiteError(
                f'The user of [{GROUP}] may not read {path.partition("?")[0]} in Keystone; '
                f'name the ids and --roles instead'
            ) from ex
        except keystone_errors.ClientException as ex:
            raise Unavailable(f'Keystone cannot be asked: {type(ex).__name__}') from ex
        return answer.json()
