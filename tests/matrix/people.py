# SPDX-License-Identifier: Apache-2.0
"""Who asks: each role in a project of each relation to the image, and those without a project."""

from __future__ import annotations

import dataclasses

#: relation of a project to the image -> the project
PROJECTS = {
    'owner': 'project-owner',
    'accepted': 'project-accepted',
    'pending': 'project-pending',
    'rejected': 'project-rejected',
    'stranger': 'project-stranger',
}
#: A further member, so that there is somebody else's membership for everybody.
ANOTHER = 'project-another'

#: role -> the roles of its token, as Keystone implies them
ROLES = {
    'none': '',
    'read': 'reader',
    'memb': 'member,reader',
    'serv': 'service',
    'adm': 'admin,member,reader',
}


@dataclasses.dataclass(frozen=True)
class Person:
    """An identity, as the headers of auth_token tell it."""

    relation: str
    role: str
    project: str | None
    roles: str | None
    #: name of the header that says what else than a project the token is for
    scope: str | None = None

    @property
    def name(self) -> str:
        return f'{self.relation}/{self.role}'

    def headers(self) -> dict[str, str]:
        if self.roles is None:
            return {}
        found = {'X-Identity-Status': 'Confirmed', 'X-Roles': self.roles, 'X-User-Id': 'somebody'}
        if self.project is not None:
            found['X-Project-Id'] = self.project
        if self.scope is not None:
            found[self.scope] = 'all'
        return found


PEOPLE = (
    *(
        Person(relation, role, project, roles)
        for relation, project in PROJECTS.items()
        for role, roles in ROLES.items()
    ),
    # Where anonymous callers are let in at all.
    Person('other', 'anon', None, None),
    Person('other', 'syst', None, ROLES['adm'], 'OpenStack-System-Scope'),
    Person('other', 'dom', None, ROLES['adm'], 'X-Domain-Id'),
)
