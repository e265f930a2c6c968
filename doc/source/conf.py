# SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration; the build treats every warning as an error."""

project = 'glance-lite'
copyright = 'the glance-lite authors'
extensions = ['sphinx.ext.autodoc', 'reno.sphinxext']
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
html_theme = 'alabaster'
html_theme_options = {'description': 'OpenStack Image service in which every part is a plug-in'}
exclude_patterns = []
master_doc = 'index'
nitpicky = False
