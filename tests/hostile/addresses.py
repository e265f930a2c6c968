# SPDX-License-Identifier: Apache-2.0
"""Urls that somebody might name to have the service reach what it should not.

Each row is refused by ``web-download`` and where a location is added, with the reason that stands
beside it, and nothing is kept.
"""

from __future__ import annotations

HOST = 'neither a name nor a common form of an address'
CHARACTERS = 'characters that a url cannot have|characters that cannot be stored'
FORM = 'not well-formed|names no host'
PRIVATE = 'no address that may be reached from here'
PORT = 'with the port'
#: Drivers of stores have schemes of their own, so that a location is refused by that already.
SCHEME = 'with the scheme|not one of a store'

#: what it tries -> (url, reason)
URLS: dict[str, tuple[str, str]] = {
    # The loopback address, in every spelling.
    'loopback': ('http://127.0.0.1/', PRIVATE),
    'loopback, all of the network': ('http://127.8.9.1/', PRIVATE),
    'loopback, two parts': ('http://127.1/', HOST),
    'loopback, three parts': ('http://127.0.1/', HOST),
    'loopback, dot at the end': ('http://127.0.0.1./', PRIVATE),
    'loopback, leading zeros': ('http://127.000.000.001/', HOST),
    'loopback, decimal': ('http://2130706433/', HOST),
    'loopback, hexadecimal': ('http://0x7f000001/', HOST),
    'loopback, hexadecimal parts': ('http://0x7f.0x0.0x0.0x1/', HOST),
    'loopback, hexadecimal first part': ('http://0x7F.1/', HOST),
    'loopback, octal': ('http://017700000001/', HOST),
    'loopback, octal parts': ('http://0177.0.0.01/', HOST),
    'loopback, mixed': ('http://0177.0x0.1/', HOST),
    'loopback, beyond 32 bits': ('http://6425673729/', HOST),
    'loopback, name': ('http://localhost/', PRIVATE),
    'loopback, name in capitals': ('http://LocalHost/', PRIVATE),
    'loopback, name with a dot': ('http://localhost./', PRIVATE),
    'loopback, IPv6': ('http://[::1]/', PRIVATE),
    'loopback, IPv6 written out': ('http://[0000:0000:0000:0000:0000:0000:0000:0001]/', PRIVATE),
    'loopback, mapped': ('http://[::ffff:127.0.0.1]/', PRIVATE),
    'loopback, mapped in hexadecimal': ('http://[::ffff:7f00:1]/', PRIVATE),
    'loopback, compatible': ('http://[::127.0.0.1]/', PRIVATE),
    'loopback, translated': ('http://[::ffff:0:127.0.0.1]/', PRIVATE),
    'loopback, NAT64': ('http://[64:ff9b::7f00:1]/', PRIVATE),
    'loopback, local NAT64': ('http://[64:ff9b:1::7f00:1]/', PRIVATE),
    'loopback, 6to4': ('http://[2002:7f00:1::]/', PRIVATE),
    'loopback, Teredo server': ('http://[2001:0:7f00:1::]/', PRIVATE),
    'loopback, Teredo client': ('http://[2001:0:808:808::80ff:fffe]/', PRIVATE),
    'loopback, https': ('https://127.0.0.1/', PRIVATE),
    'unspecified': ('http://0.0.0.0/', PRIVATE),
    'unspecified, short': ('http://0/', HOST),
    'unspecified, IPv6': ('http://[::]/', PRIVATE),
    # Metadata services and other link-local addresses.
    'metadata': ('http://169.254.169.254/latest/meta-data/', PRIVATE),
    'metadata, decimal': ('http://2852039166/', HOST),
    'metadata, hexadecimal': ('http://0xa9fea9fe/', HOST),
    'metadata, octal': ('http://0251.0376.0251.0376/', HOST),
    'metadata, mapped': ('http://[::ffff:169.254.169.254]/', PRIVATE),
    'metadata, NAT64': ('http://[64:ff9b::a9fe:a9fe]/', PRIVATE),
    'metadata, IPv6': ('http://[fd00:ec2::254]/', PRIVATE),
    'metadata of containers': ('http://169.254.170.2/', PRIVATE),
    'metadata in shared space': ('http://100.100.100.200/', PRIVATE),
    'metadata in protocol space': ('http://192.0.0.192/', PRIVATE),
    'link-local, IPv6': ('http://[fe80::1]/', PRIVATE),
    'link-local, IPv6 with a zone': ('http://[fe80::1%25eth0]/', HOST),
    # Networks that are nobody's or somebody's own.
    'private, 10': ('http://10.0.0.1/', PRIVATE),
    'private, 172.16': ('http://172.31.255.254/', PRIVATE),
    'private, 192.168': ('http://192.168.1.1/', PRIVATE),
    'private, IPv6': ('http://[fc00::1]/', PRIVATE),
    'site-local, IPv6': ('http://[fec0::1]/', PRIVATE),
    'benchmarking': ('http://198.18.0.1/', PRIVATE),
    'documentation': ('http://203.0.113.5/', PRIVATE),
    'documentation, IPv6': ('http://[2001:db8::1]/', PRIVATE),
    'multicast': ('http://224.0.0.1/', PRIVATE),
    'multicast, IPv6': ('http://[ff02::1]/', PRIVATE),
    'broadcast': ('http://255.255.255.255/', PRIVATE),
    'reserved': ('http://240.0.0.1/', PRIVATE),
    'unassigned, IPv6': ('http://[4000::1]/', PRIVATE),
    # Ports.
    'port of ssh': ('http://8.8.8.8:22/', PORT),
    'port of memcached': ('http://8.8.8.8:11211/', PORT),
    'port of redis, https': ('https://8.8.8.8:6379/', PORT),
    'port 0': ('http://8.8.8.8:0/', FORM),
    'port beyond 65535': ('http://8.8.8.8:65616/', FORM),
    'port below 0': ('http://8.8.8.8:-80/', FORM),
    'port that is a word': ('http://8.8.8.8:http/', FORM),
    # Schemes.
    'file': ('file:///etc/passwd', f'{SCHEME}|{FORM}'),
    'file, in capitals': ('FILE:///etc/passwd', f'{SCHEME}|{FORM}'),
    'file, with a host': ('file://localhost/etc/passwd', SCHEME),
    'file of a store': ('filesystem:///etc/passwd', f'{SCHEME}|{FORM}'),
    'gopher': ('gopher://127.0.0.1:6379/_FLUSHALL', SCHEME),
    'ftp': ('ftp://images.example/disk', SCHEME),
    'dict': ('dict://127.0.0.1:11211/stat', SCHEME),
    'ldap': ('ldap://127.0.0.1/', SCHEME),
    'data': ('data:text/plain,hello', f'{SCHEME}|{FORM}'),
    'jar': ('jar:http://127.0.0.1!/x', f'{SCHEME}|{FORM}'),
    'http within another': ('url:http://8.8.8.8/', f'{SCHEME}|{FORM}'),
    'no scheme': ('//127.0.0.1/', f'{SCHEME}|{FORM}'),
    'no host': ('http:///etc/passwd', FORM),
    'one slash': ('http:/127.0.0.1/', FORM),
    # Characters.
    'circled digits': ('http://①②⑦.⓪.⓪.①/', HOST),
    'circled letters': ('http://ⓛocalhost/', HOST),
    'full-width digits': ('http://１２７.0.0.1/', HOST),
    'ideographic full stops': ('http://127。0。0。1/', HOST),
    'letters beyond ASCII': ('http://bücher.example/', HOST),
    'a soft hyphen': ('http://local\u00adhost/', HOST),
    'percents': ('http://%31%32%37.0.0.1/', HOST),
    'a percent NUL': ('http://127.0.0.1%00.example/', HOST),
    'NUL': ('http://8.8.8.8/\0', CHARACTERS),
    'an end of a line': ('http://8.8.8.8/\r\nHost: 127.0.0.1', CHARACTERS),
    'an end of a line in the host': ('http://8.8.8.8\r\n/', CHARACTERS),
    'a tab': ('http://127.0.0.1\t/', CHARACTERS),
    'a space': ('http://8.8.8.8 @127.0.0.1/', CHARACTERS),
    'a backslash': ('http://127.0.0.1\\@images.example/', CHARACTERS),
    'brackets': ('http://[127.0.0.1]/', f'{FORM}|{HOST}'),
    'a bracket': ('http://[::1/', FORM),
    'an address of the future': ('http://[v1.127]/', f'{FORM}|{HOST}'),
    'too long': ('http://8.8.8.8/' + 'a' * 5000, CHARACTERS),
    'dots': ('http://127..1/', HOST),
    'a hyphen first': ('http://-oops.example/', HOST),
}  # fmt: skip

#: Credentials: a location may have some (they are shown to nobody), a web-download may not.
CREDENTIALS: dict[str, tuple[str, str]] = {
    'credentials': ('http://user:secret@8.8.8.8/', 'credentials'),
    'a user': ('http://user@8.8.8.8/', 'credentials'),
    'a host for a user': ('http://images.example@8.8.8.8/', 'credentials'),
    'an empty user': ('http://@8.8.8.8/', 'credentials'),
}

#: The name resolves to these, one after another: what was checked must be what is connected to.
NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    'a name of the loopback address': (('127.0.0.1',),),
    'a name of the other loopback address': (('::1',),),
    'a name of a mapped address': (('::ffff:10.0.0.1',),),
    'a name of the metadata service': (('169.254.169.254',),),
    'a name of private addresses': (('10.0.0.1', '192.168.0.1', 'fd00::1'),),
    'a name with a zone': (('fe80::1%eth0',),),
    'a name of nothing': ((),),
    'a name that changes to loopback': (('8.8.8.8',), ('127.0.0.1',)),
    'a name that changes to the metadata service': (('8.8.8.8',), ('169.254.169.254',)),
    'a name that changes to IPv6': (('2606:4700::1111',), ('::1',)),
}

#: Where a server that may be reached leads to, by a redirect. ``{port}`` is its own; a path is
#: one of its own that does so.
REDIRECTS: dict[str, tuple[str, str]] = {
    'to a file': ('file:///etc/passwd', f'{SCHEME}|{FORM}'),
    'to the metadata service': ('http://169.254.169.254/latest/meta-data/', PRIVATE),
    'to the metadata service, hexadecimal': ('http://0xa9fea9fe/', HOST),
    'to loopback, IPv6': ('/to-loopback', PRIVATE),
    'to loopback, another address': ('http://127.0.0.2/', PRIVATE),
    'to loopback, decimal': ('http://2130706433/', HOST),
    'to loopback, mapped': ('/to-mapped', PRIVATE),
    'to a private network': ('http://10.0.0.1/', PRIVATE),
    'to a private network, relative': ('//192.168.0.1/', PRIVATE),
    'to another port': ('http://127.0.0.1:22/', PORT),
    'to gopher': ('gopher://127.0.0.1:6379/_FLUSHALL', SCHEME),
    'to ftp': ('ftp://127.0.0.1/', SCHEME),
    'to data': ('data:,x', f'{SCHEME}|{FORM}'),
    'to no url': ('/to-nothing', FORM),
    'to a name of the inside': ('http://inside.example/', PRIVATE),
    'with credentials, to the inside': ('http://user:secret@10.0.0.1/', PRIVATE),
    'to a redirect to the inside': (
        'http://images.example:{port}/to/?url=http://10.0.0.1/', PRIVATE,
    ),
    'to itself': ('http://images.example:{port}/loop', 'more than 5 redirects'),
}  # fmt: skip
