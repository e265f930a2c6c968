# SPDX-License-Identifier: Apache-2.0
"""Imports: where data comes from (methods), what is made of it (plug-ins), who does the work."""
