# SPDX-License-Identifier: Apache-2.0
"""HTTPS by the server itself, with the options that Glance had for it."""

from __future__ import annotations

import ssl

from oslo_config import cfg

from glance_lite.conf import where
from glance_lite.errors import ConfigurationError


def context(conf: cfg.ConfigOpts) -> ssl.SSLContext | None:
    """None for plain HTTP. Raises `ConfigurationError`."""
    if not conf.cert_file:
        for name in ('key_file', 'ca_file'):
            if conf[name]:
                raise ConfigurationError(
                    f'{where(conf, "DEFAULT", name)}[DEFAULT] {name}: there is no cert_file'
                )
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name in ('cert_file', 'key_file', 'ca_file'):
        _readable(conf, name)
    try:
        # A key with a passphrase would ask a terminal for it, in every worker.
        made.load_cert_chain(conf.cert_file, conf.key_file, password=_no_password)
    except (OSError, ValueError) as ex:
        names = 'cert_file, key_file' if conf.key_file else 'cert_file'
        files = ', '.join(filter(None, (conf.cert_file, conf.key_file)))
        raise _unusable(conf, names, files, ex) from ex
    if conf.ca_file:
        try:
            made.load_verify_locations(conf.ca_file)
        except (OSError, ValueError) as ex:
            raise _unusable(conf, 'ca_file', conf.ca_file, ex) from ex
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def _readable(conf: cfg.ConfigOpts, name: str) -> None:
    """That the file can be read: OpenSSL does not say which of two it is that cannot."""
    if not conf[name]:
        return
    try:
        with open(conf[name], 'rb') as file:
            file.read(1)
    except (OSError, ValueError) as ex:
        raise _unusable(conf, name, conf[name], ex) from ex


def _no_password() -> str:
    raise ValueError('the key has a passphrase, and nobody is there to enter it')


def _unusable(conf: cfg.ConfigOpts, names: str, files: str, ex: Exception) -> ConfigurationError:
    option = names.partition(',')[0]
    reason = (ex.strerror if isinstance(ex, OSError) else None) or ex
    return ConfigurationError(
        f'{where(conf, "DEFAULT", option)}[DEFAULT] {names}: {files} cannot be used: {reason}'
    )
