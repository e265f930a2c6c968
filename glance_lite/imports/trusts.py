# SPDX-License-Identifier: Apache-2.0
"""Work for a user after the request: Keystone's trusts, and never a token that is kept.

While the request is there, its token is used once: the user lends the service the roles that the
token has, for a few hours. What is kept is the id of the trust, which is of use to nobody but the
service user. keystoneauth1 comes with the extra ``swift``; without it this cannot be imported.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keystoneauth1 import exceptions as keystone_errors
from keystoneauth1 import loading
from keystoneauth1.plugin import AUTH_INTERFACE

from glance_lite.errors import ConfigurationError, Forbidden, NotFound, Unavailable

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.context import RequestContext

LOG = logging.getLogger(__name__)

#: Where Keystone is asked, whatever the catalog says.
WHERE: dict[str, Any] = {'service_type': 'identity', 'interface': AUTH_INTERFACE, 'version': '3'}
#: What the service's own credentials say of a scope; a trust has one of its own.
SCOPES = (
    'project_id', 'project_name', 'project_domain_id', 'project_domain_name', 'domain_id',
    'domain_name', 'system_scope',
)  # fmt: skip


class Trusts:
    """Keystone, asked as the service user of a group of the configuration."""

    def __init__(self, conf: cfg.ConfigOpts, group: str, option: str, hours: int) -> None:
        """Asks nothing yet. `ConfigurationError`."""
        self._conf = conf
        self._group = group
        self._hours = hours
        _register(conf, group)
        try:
            self._auth = loading.load_auth_from_conf_options(conf, group)
            self._session = loading.load_session_from_conf_options(conf, group, auth=self._auth)
        except (keystone_errors.ClientException, ValueError) as ex:
            raise ConfigurationError(
                f'{option}: [{group}] cannot be used: {type(ex).__name__}'
            ) from ex
        if self._auth is None:
            raise ConfigurationError(f'{option}: [{group}] auth_type is not set')

    def lend(self, ctx: RequestContext) -> str:
        """The id of a new trust, made by the user's own token. `Forbidden`, `Unavailable`."""
        if not ctx.auth_token or not ctx.user_id or not ctx.project_id:
            raise Forbidden('Only a user of a project, known to Keystone, can ask for this')
        with _asking('Keystone did not let you lend your rights to this service for the import'):
            ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=self._hours)
            body = {
                'trust': {
                    'trustor_user_id': ctx.user_id,
                    'trustee_user_id': self._session.get_user_id(),
                    'project_id': ctx.project_id,
                    'impersonation': True,
                    'allow_redelegation': False,
                    'roles': [{'name': role} for role in sorted(ctx.roles)],
                    # To the microsecond: Keystone has no two that end at the same moment.
                    'expires_at': ends.strftime('%Y-%m-%dT%H:%M:%S.%fZ'),
                }
            }
            url = self._session.get_endpoint(**WHERE)
            answer = self._session.post(
                f'{url}/OS-TRUST/trusts',
                json=body,
                headers={'X-Auth-Token': ctx.auth_token},
                authenticated=False,
                log=False,
            )
        return str(answer.json()['trust']['id'])

    def borrowed(self, trust_id: str) -> Borrowed:
        """The rights of a trust."""
        nothing = dict.fromkeys(SCOPES)
        auth = loading.load_auth_from_conf_options(
            self._conf, self._group, **{**nothing, 'trust_id': trust_id}
        )
        return Borrowed(self._session, auth, trust_id)

    def tls(self) -> ssl.SSLContext | None:
        """How servers of the catalog are verified, as the group has it; None: as all others."""
        own = self._conf[self._group]
        if own.insecure:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return context
        return ssl.create_default_context(cafile=own.cafile) if own.cafile else None


def _register(conf: cfg.ConfigOpts, group: str) -> None:
    """Options of a session and of its credentials.

    The filter ``authtoken`` has some of the same names in its own group, and defines them in
    another way: there its definitions count, whether it has been made already or not.
    """
    if group == 'keystone_authtoken':
        from keystonemiddleware import opts

        for _, options in opts.list_auth_token_opts():
            conf.register_opts(options, group=group)
    for option in loading.get_session_conf_options():
        if option.dest not in conf[group]:
            conf.register_opt(option, group=group)
    loading.register_auth_conf_options(conf, group)


class Borrowed:
    """What a user has lent."""

    def __init__(self, session: Any, auth: Any, trust_id: str) -> None:
        self._session = session
        self._auth = auth
        self._trust_id = trust_id

    def token(self) -> str:
        """A token that is good for a while; a new one when the last one is about to end."""
        with _asking('The rights for this import have ended, or were taken back'):
            return str(self._auth.get_token(self._session))

    def endpoint(self, service: str, region: str, interface: str) -> str:
        """A url of the catalog. `NotFound`."""
        with _asking('The rights for this import have ended, or were taken back'):
            try:
                url = self._auth.get_endpoint(
                    self._session, service_type=service, region_name=region, interface=interface
                )
            except keystone_errors.EndpointNotFound:
                url = None
        if not url:
            raise NotFound('There is no image service in that region, or not on that interface')
        return str(url)

    def give_back(self) -> None:
        """End it before its time. What fails is no harm: it ends by itself."""
        try:
            url = self._session.get_endpoint(**WHERE)
            headers = {'X-Auth-Token': self._auth.get_token(self._session)}
            self._session.delete(
                f'{url}/OS-TRUST/trusts/{self._trust_id}', headers=headers, authenticated=False
            )
        except keystone_errors.ClientException as ex:
            LOG.info('A trust stays until its end: %s', type(ex).__name__)


@contextlib.contextmanager
def _asking(refused: str) -> Iterator[None]:
    try:
        yield
    except (
        keystone_errors.Unauthorized, keystone_errors.Forbidden, keystone_errors.NotFound,
        keystone_errors.BadRequest,
    ) as ex:  # fmt: skip
        LOG.info('Keystone refused: %s', type(ex).__name__)
        raise Forbidden(refused) from ex
    except keystone_errors.ClientException as ex:
        LOG.warning('Keystone cannot be asked: %s', type(ex).__name__)
        raise Unavailable('The identity service cannot be asked at present', 5) from ex
