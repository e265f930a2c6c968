# SPDX-License-Identifier: Apache-2.0
"""Who may import whom, and what no module may contain."""

from __future__ import annotations

import ast
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = sorted(
    path.relative_to(ROOT)
    for package in ('glance_lite', 'store_drivers')
    for path in (ROOT / package).rglob('*.py')
)
TESTS = sorted(path.relative_to(ROOT) for path in (ROOT / 'tests').rglob('*.py'))


def imports(path: pathlib.Path) -> set[str]:
    """Dotted names a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {f'{node.module}.{alias.name}' for alias in node.names}
    return found


def importing(package: str) -> set[str]:
    return {
        str(path)
        for path in MODULES
        if any(name == package or name.startswith(package + '.') for name in imports(path))
    }


def test_there_is_something_to_look_at():
    assert len(MODULES) > 20


def test_only_one_module_imports_eventlet():
    assert importing('eventlet') <= {'glance_lite/server/eventlet.py'}


def test_nothing_imports_glance():
    for package in ('glance', 'glance_store'):
        assert {path for path in importing(package) if 'glance_store' not in path} == set()


def test_layers_never_import_webob():
    assert not {path for path in importing('webob') if path.startswith('glance_lite/layers/')}


@pytest.mark.parametrize('package', ['sqlalchemy', 'alembic', 'glance_lite.db'])
def test_only_db_knows_sql(package):
    allowed = ('glance_lite/db/', 'glance_lite/layers/db.py', 'glance_lite/layers/db_upkeep.py')
    if package == 'glance_lite.db':
        allowed += ('glance_lite/cmd/', 'glance_lite/server/eventlet.py')
    assert not {path for path in importing(package) if not path.startswith(allowed)}


def test_the_api_knows_no_driver():
    assert not {path for path in importing('store_drivers') if path.startswith('glance_lite/')}


def test_only_location_reaches_the_gateway():
    allowed = {
        'glance_lite/cmd/copies.py',
        'glance_lite/cmd/placements.py',
        'glance_lite/cmd/stores.py',
        'glance_lite/layer.py',
        'glance_lite/layers/audits.py',
        'glance_lite/layers/copies.py',
        'glance_lite/layers/grants.py',
        'glance_lite/layers/importing.py',
        'glance_lite/layers/jobs.py',
        'glance_lite/layers/location.py',
        'glance_lite/layers/registration.py',
        'glance_lite/reading.py',
        'glance_lite/service.py',
    }
    users = {
        path
        for path in importing('glance_lite.gateway')
        if not path.startswith('glance_lite/testing')
    }
    assert users <= allowed


@pytest.mark.parametrize('path', [p for p in MODULES if p.parts[0] == 'store_drivers'], ids=str)
def test_a_driver_imports_only_the_contract(path):
    names = {f'glance_lite.{name}' for name in ('store', 'errors', 'concurrency', 'guarded')}
    allowed = tuple(name + '.' for name in names)
    ours = {name for name in imports(path) if name.startswith('glance_lite')}
    wrong = {name for name in ours if not (name + '.').startswith(allowed) and name not in names}
    assert not wrong


@pytest.mark.parametrize('path', MODULES, ids=str)
def test_no_global_configuration(path):
    text = (ROOT / path).read_text()
    assert not re.search(r'^CONF\s*=', text, re.M)
    if path.parts[1] not in {'cmd', 'server'} and path.name != 'wsgi.py':
        assert 'cfg.CONF' not in text


@pytest.mark.parametrize('path', [*MODULES, *TESTS], ids=str)
def test_licence_line(path):
    text = (ROOT / path).read_text()
    first = text.split('\n', 2)
    assert '# SPDX-License-Identifier: Apache-2.0' in first[:2]


@pytest.mark.parametrize('path', MODULES, ids=str)
def test_nothing_unfinished(path):
    marks = 'TO' + 'DO|FIX' + 'ME|XX' + 'X|NotImplemented' + 'Error'
    assert not re.search(marks, (ROOT / path).read_text())


def test_heavy_libraries_are_imported_late():
    """The API process must not pay for messaging, S3 or task flows it does not use."""
    framework = [
        '.'.join(path.with_suffix('').parts)
        for path in MODULES
        if path.parts[:2] not in {('glance_lite', 'server'), ('glance_lite', 'cmd')}
        and path.name not in {'__init__.py', 'wsgi.py', 'env.py'}
    ]
    heavy = {'kombu', 'boto3', 'taskflow', 'eventlet', 'oslo_messaging'}
    code = (
        f'import importlib, sys\n'
        f'for name in {framework}: importlib.import_module(name)\n'
        f'heavy = {heavy} & set(sys.modules)\n'
        f'assert not heavy, heavy\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
