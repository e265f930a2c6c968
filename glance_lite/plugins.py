# SPDX-License-Identifier: Apache-2.0
"""Finding plug-ins: stevedore entry points, with a sentence for everything that can be wrong.

stevedore leaves out what fails to import and notices only duplicates that stand side by side.
For a layer called ``policy`` the first would be an open door, so names are counted here and a
plug-in that was asked for and cannot be had stops the start.
"""

from __future__ import annotations

from typing import Any

from stevedore import named

from glance_lite.errors import PluginError

LAYERS = 'glance_lite.layers'
STORES = 'glance_lite.stores'
METADATA = 'glance_lite.metadata'
IMPORT_METHODS = 'glance_lite.import_methods'
IMPORT_PLUGINS = 'glance_lite.import_plugins'
TASK_EXECUTORS = 'glance_lite.task_executors'
NOTIFIERS = 'glance_lite.notifiers'
CERTIFICATE_MANAGERS = 'glance_lite.certificate_managers'
LOCATION_STRATEGIES = 'glance_lite.location_strategies'
DUTIES = 'glance_lite.duties'


def _named(namespace: str, name: str, failed: list[tuple[Any, BaseException]]) -> Any:
    return named.NamedExtensionManager(
        namespace,
        [name],
        on_load_failure_callback=lambda manager, point, ex: failed.append((point, ex)),
        on_missing_entrypoints_callback=lambda names: None,
    )


def names(namespace: str) -> tuple[str, ...]:
    """Sorted names of what is installed in a namespace; nothing is imported."""
    return tuple(sorted(set(_named(namespace, '', []).entry_points_names())))


def load(namespace: str, name: str, option: str, needs: str = '') -> Any:
    """The object behind `name`.

    `option` is how the sentence calls the place that named it, for example
    ``[controller] layers``; `needs` is the install line of what it may lack. Raises
    `PluginError` when it is unknown, registered twice or cannot be imported.
    """
    failed: list[tuple[Any, BaseException]] = []
    manager = _named(namespace, name, failed)
    # An editable install can show the same entry point twice: the same thing, not a clash.
    values = {point.value for point in manager.list_entry_points() if point.name == name}
    if not values:
        known = ', '.join(names(namespace)) or 'none'
        raise PluginError(f'{option}: there is no plug-in {name} in {namespace} (known: {known})')
    if len(values) > 1:
        where = ' and '.join(sorted(values))
        raise PluginError(f'{option}: {name} is registered twice in {namespace}, by {where}')
    if failed:
        point, ex = failed[0]
        cure = f'; install it with: {needs}' if needs and isinstance(ex, ImportError) else ''
        raise PluginError(
            f'{option}: {name} ({point.value}) cannot be loaded: {type(ex).__name__}: {ex}{cure}'
        ) from ex
    return manager[name].plugin
