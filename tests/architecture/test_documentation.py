# SPDX-License-Identifier: Apache-2.0
"""The reference agrees with the code, and everything a reader may look for is in it."""

from __future__ import annotations

import inspect
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from glance_lite import conf as configuration
from glance_lite import errors, plugins
from glance_lite.api.faults import STATUS
from glance_lite.api.routes import TABLE
from glance_lite.conf.stores import COMMON
from glance_lite.operations import OPERATIONS, is_inner

ROOT = pathlib.Path(__file__).resolve().parents[2]
REFERENCE = ROOT / 'doc' / 'source' / 'reference'
OURS = ('glance_lite.', 'store_drivers.')


def page(name: str) -> str:
    return (REFERENCE / f'{name}.rst').read_text()


def headings(text: str) -> dict[str, str]:
    """Heading -> what is under it, up to the next one."""
    parts = re.split(r'^(\S.*)\n([=-])\2+\n', text, flags=re.M)
    return dict(zip(parts[1::3], parts[3::3], strict=True))


def entries(text: str) -> set[str]:
    """Terms of a definition list."""
    return set(re.findall(r'^``(\w+)``\n   \S', text, re.M))


def plug_ins(namespace: str) -> dict[str, type]:
    """Those of this package, whatever else is installed."""
    loaded = {name: plugins.load(namespace, name, 'test') for name in plugins.names(namespace)}
    return {name: kind for name, kind in loaded.items() if kind.__module__.startswith(OURS)}


def check(root: pathlib.Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / 'tools' / 'reference'), '--check']
    return subprocess.run(command, capture_output=True, text=True)


def test_the_reference_is_what_the_code_says():
    result = check(ROOT)
    assert (result.returncode, result.stdout) == (0, ''), result.stderr


def test_a_stale_page_is_named(tmp_path):
    """The check itself, on a copy in which one page is older than the code."""
    for name in ('glance_lite', 'store_drivers', 'tools', 'etc', 'doc/source/reference'):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / 'setup.cfg', tmp_path)
    stale = tmp_path / 'doc' / 'source' / 'reference' / 'routes.rst'
    stale.write_text(stale.read_text().replace('/v2/images', '/v2/pictures'))
    result = check(tmp_path)
    assert result.returncode == 1, result.stderr
    assert 'doc/source/reference/routes.rst' in result.stdout
    assert 'errors.rst' not in result.stdout
    assert 'pipeline' not in result.stdout


@pytest.mark.parametrize('group', configuration.options())
def test_each_option_has_an_entry(group):
    wanted = {option.dest for option in configuration.options()[group]}
    assert wanted <= entries(headings(page('options'))[f'[{group}]'])


def test_each_option_of_a_store_has_an_entry():
    found = headings(page('options'))
    assert {option.dest for option in COMMON} <= entries(found['The group of a store'])
    for name, driver in plug_ins(plugins.STORES).items():
        wanted = {option.dest for option in driver.opts}
        assert wanted <= entries(found[f'A store of type {name}'])


def test_each_layer_and_driver_has_a_heading():
    assert plug_ins(plugins.LAYERS).keys() <= headings(page('layers')).keys()
    assert plug_ins(plugins.STORES).keys() <= headings(page('stores')).keys()


def test_each_route_has_a_row():
    found = page('routes')
    for path, method, _, _, _ in TABLE:
        assert f'- ``{method} /v2{path}``\n' in found


def test_each_error_has_a_row_with_its_status():
    found = dict(re.findall(r'- ``(\w+)``\n     - ?(\d*)\n', page('errors')))
    raised = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.GlanceLiteError)
    }
    assert {kind.__name__ for kind in raised} == found.keys()
    for kind, status in STATUS.items():
        assert found[kind.__name__] == str(status)


def test_each_operation_has_its_order_of_refusals():
    decisions = (ROOT / 'doc' / 'source' / 'admin' / 'decisions.rst').read_text()
    for name in OPERATIONS:
        if not is_inner(name):
            assert f'* - ``{name}``\n' in decisions
