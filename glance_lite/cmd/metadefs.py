# SPDX-License-Identifier: Apache-2.0
"""The commands of ``glance-lite-manage db`` on metadata definitions."""

from __future__ import annotations

import argparse
import pathlib
import sys

from oslo_config import cfg

from glance_lite.db import catalog
from glance_lite.errors import Duplicate, GlanceLiteError, Invalid
from glance_lite.metadefs import catalog as files

LOAD = 'bring metadata definitions from JSON files into the database'
UNLOAD = 'remove all metadata definitions from the database'
EXPORT = 'write the metadata definitions of the database into JSON files'

Parsers = argparse._SubParsersAction


def add(parsers: Parsers[argparse.ArgumentParser]) -> None:
    """The commands of ``db``."""
    load = _add(parsers, 'load_metadefs', LOAD)
    load.set_defaults(run=load_metadefs)
    load.add_argument('--path', help='a file, or a directory of files')
    load.add_argument(
        '--merge', action='store_true', help='add what is missing in namespaces that are there'
    )
    load.add_argument(
        '--prefer_new', action='store_true', help='with --merge: change what is there, too'
    )
    load.add_argument(
        '--overwrite', action='store_true', help='with --merge: replace whole namespaces'
    )
    _add(parsers, 'unload_metadefs', UNLOAD).set_defaults(run=unload_metadefs)
    export = _add(parsers, 'export_metadefs', EXPORT)
    export.set_defaults(run=export_metadefs)
    export.add_argument('--path', help='an existing directory')


def add_old(parsers: Parsers[argparse.ArgumentParser]) -> None:
    """The same by their old names, with their old arguments."""
    load = _add(parsers, 'db_load_metadefs', LOAD)
    load.set_defaults(run=load_metadefs)
    for name in ('path', 'merge', 'prefer_new', 'overwrite'):
        load.add_argument(name, nargs='?')
    _add(parsers, 'db_unload_metadefs', UNLOAD).set_defaults(run=unload_metadefs)
    export = _add(parsers, 'db_export_metadefs', EXPORT)
    export.set_defaults(run=export_metadefs)
    export.add_argument('path', nargs='?')


def _add(
    parsers: Parsers[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    return parsers.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.')


def _path(conf: cfg.ConfigOpts) -> pathlib.Path:
    return pathlib.Path(conf.command.path or conf.metadata_source_path)


def _mode(command: argparse.Namespace) -> str:
    if (command.prefer_new or command.overwrite) and not command.merge:
        raise Invalid('--prefer_new and --overwrite go with --merge only')
    if command.prefer_new and command.overwrite:
        raise Invalid('--prefer_new and --overwrite exclude each other')
    if command.overwrite:
        return catalog.OVERWRITE
    if command.prefer_new:
        return catalog.PREFER_NEW
    return catalog.MERGE if command.merge else catalog.SKIP


def load_metadefs(conf: cfg.ConfigOpts) -> int:
    """A file that cannot be loaded is told and the others are loaded; the exit code is then 1."""
    mode = _mode(conf.command)
    code = 0
    for path in files.files(_path(conf)):
        try:
            namespace = files.read(path)
            print(f'{namespace.namespace}: {catalog.load(conf, namespace, mode)}')
        except (Invalid, Duplicate) as ex:
            print(f'glance-lite-manage: {_placed(path, ex)}', file=sys.stderr)
            code = 1
    return code


def _placed(path: pathlib.Path, ex: GlanceLiteError) -> str:
    return str(ex) if str(path) in str(ex) else f'{path}: {ex}'


def unload_metadefs(conf: cfg.ConfigOpts) -> None:
    for table, count in catalog.unload(conf).items():
        print(f'{table}: {count} rows removed')


def export_metadefs(conf: cfg.ConfigOpts) -> None:
    for path in files.write(_path(conf), catalog.stored(conf)):
        print(path)
