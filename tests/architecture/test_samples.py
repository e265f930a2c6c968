# SPDX-License-Identifier: Apache-2.0
"""The samples in etc/ are what the generators make of the code, and can be used as they are."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest

from glance_lite import conf as configuration
from glance_lite.api.v2.schemas import ImageSchema
from glance_lite.context import RequestContext
from glance_lite.errors import Invalid
from glance_lite.policy.enforcer import Enforcer
from glance_lite.policy.protections import Protections

ROOT = pathlib.Path(__file__).resolve().parents[2]
ETC = ROOT / 'etc'


def generated(call: str, config: str, output: pathlib.Path) -> str:
    """What a generator writes now: `call` is its entry point, `config` says what of."""
    module, _, function = call.partition(':')
    code = f'from {module} import {function}; {function}()'
    arguments = ['--config-file', str(ETC / config), '--output-file', str(output)]
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code, *arguments], check=True)
    return output.read_text()


def of_ours(sample: str) -> list[tuple[str, str]]:
    """(section, line) of the options that are ours: other libraries' change without us."""
    section = namespace = ''
    found = []
    for line in sample.splitlines():
        if line.startswith('['):
            section, namespace = line, ''
        elif line.startswith('# From '):
            namespace = line
        elif namespace == '# From glance_lite' and line.strip('# '):
            found.append((section, line))
    return found


def test_configuration_sample(tmp_path):
    made = generated(
        'oslo_config.generator:main',
        'oslo-config-generator/glance-api.conf',
        tmp_path / 'glance-api.conf.sample',
    )
    kept = (ETC / 'glance-api.conf.sample').read_text()
    assert of_ours(kept) == of_ours(made)
    assert {section for section, _ in of_ours(kept)} == {
        f'[{group}]' for group in configuration.options()
    }


def test_policy_sample(tmp_path):
    made = generated(
        'oslo_policy.generator:generate_sample',
        'oslo-policy-generator/glance.conf',
        tmp_path / 'policy.yaml.sample',
    )
    assert (ETC / 'policy.yaml.sample').read_text() == made


@pytest.fixture
def conf(tmp_path):
    """A configuration beside which the files of etc/ lie."""
    file = tmp_path / 'glance-api.conf'
    file.write_text('[DEFAULT]\n')
    shutil.copy(ETC / 'schema-image.json', tmp_path)
    return configuration.parse(configuration.new(), ['--config-file', str(file)])


def test_schema(conf):
    schema = ImageSchema(conf)
    schema.check_new({'cinder_encryption_key_deletion_policy': 'on_image_deletion'})
    with pytest.raises(Invalid):
        schema.check_new({'cinder_encryption_key_deletion_policy': 'sometimes'})
    schema.check_new({'kernel_id': None})
    with pytest.raises(Invalid):
        schema.check_new({'kernel_id': 'vmlinuz'})


@pytest.mark.parametrize('rule_format', ['roles', 'policies'])
def test_property_protections(conf, rule_format):
    enforcer = Enforcer(conf)
    enforcer.start()
    path = ETC / f'property-protections-{rule_format}.conf'
    rules = Protections(str(path), rule_format, enforcer)
    admin = RequestContext(project_id='operators', roles=['admin'])
    member = RequestContext(project_id='alpha', roles=['member', 'reader'])
    every = ('create', 'read', 'update', 'delete')

    def may(ctx, name):
        return [operation for operation in every if rules.allowed(ctx, operation, name)]

    assert may(admin, 'x_billing_code') == list(every)
    assert may(member, 'x_billing_code') == []
    assert may(admin, 'x_licence_code') == ['create', 'read']
    assert may(member, 'x_licence_code') == ['read']
    assert may(member, 'flavour') == list(every)
