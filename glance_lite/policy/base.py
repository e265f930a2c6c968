# SPDX-License-Identifier: Apache-2.0
"""Rules that others refer to, and the checks most defaults are made of."""

from __future__ import annotations

from oslo_policy import policy

ADMIN = 'rule:context_is_admin'
DEFAULT = 'rule:default'
SERVICE = 'rule:service_api'

_MEMBER = 'role:member and project_id:%(project_id)s'
_READER = 'role:reader and project_id:%(project_id)s'
_OWN_OR_SHARED = 'project_id:%(project_id)s or project_id:%(member_id)s'
_VISIBLE = (
    f"({_OWN_OR_SHARED} or 'community':%(visibility)s or 'public':%(visibility)s "
    "or 'shared':%(visibility)s)"
)

ADMIN_OR_MEMBER = f'{ADMIN} or ({_MEMBER})'
ADMIN_OR_READER = f'{ADMIN} or ({_READER})'
ADMIN_OR_CREATOR = f'{ADMIN} or ({_MEMBER} and project_id:%(owner)s)'
SERVICE_OR_CREATOR = f'{SERVICE} or ({_MEMBER} and project_id:%(owner)s)'
ADMIN_OR_VISIBLE_TO_READER = f'{ADMIN} or (role:reader and {_VISIBLE})'
ADMIN_OR_VISIBLE_TO_MEMBER = f'{ADMIN} or (role:member and {_VISIBLE})'
ADMIN_OR_IMAGE_MEMBER = f'{ADMIN} or (role:member and project_id:%(member_id)s)'
# Without the outer brackets of the others; `and` binds closer, so it means the same.
ADMIN_OR_READER_OR_IMAGE_MEMBER = f'{ADMIN} or role:reader and ({_OWN_OR_SHARED})'
ADMIN_OR_NAMESPACE_READER = (
    f"{ADMIN} or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))"
)
ADMIN_OR_SERVICE = f'{ADMIN} or {SERVICE}'

_REASON = 'The defaults distinguish the roles reader, member and admin of a project.'


def rule(
    name: str,
    check: str,
    description: str,
    *operations: str,
    before: str | None = None,
    since: str = 'Wallaby',
    reason: str = _REASON,
) -> policy.DocumentedRuleDefault:
    """A rule for requests of a project.

    `operations` read like ``'GET /v2/images'``. `before` is the check the rule had before
    release `since`; with ``[oslo_policy] enforce_new_defaults = false`` it is allowed as well.
    """
    deprecated = before and policy.DeprecatedRule(
        name=name, check_str=before, deprecated_reason=reason, deprecated_since=since
    )
    return policy.DocumentedRuleDefault(
        name=name,
        check_str=check,
        description=description,
        operations=[
            {'method': method, 'path': path}
            for method, path in (operation.split(' ') for operation in operations)
        ],
        scope_types=['project'],
        deprecated_rule=deprecated or None,
    )


RULES = [
    policy.RuleDefault(
        'default',
        '',
        description='Decides for every name that no rule is defined for.',
        deprecated_rule=policy.DeprecatedRule(
            name='default',
            check_str=ADMIN,
            deprecated_reason='Policy files may leave out rules whose default they accept; '
            'whoever wants undefined names refused says "role:admin" here.',
            deprecated_since='Ussuri',
        ),
    ),
    policy.RuleDefault(
        'context_is_admin', 'role:admin', description='Who is an administrator of the service.'
    ),
    policy.RuleDefault(
        'service_api',
        'role:service or role:admin',
        description='Who counts as another OpenStack service.',
    ),
]
