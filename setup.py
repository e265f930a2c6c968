# SPDX-License-Identifier: Apache-2.0
"""Setuptools entry; everything is declared in setup.cfg."""

import setuptools

setuptools.setup()
