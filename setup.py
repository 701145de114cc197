"""Packaging of remotevirt: what is installed, what it needs, and where drivers register."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    """The version, read from the package without importing it: its dependencies may not be there yet."""
    text = (HERE / "remotevirt" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit("remotevirt/__init__.py holds no __version__")
    return found[1]


TEST = [
    "hypothesis>=6.100",
    "mypy>=1.13",
    "mypy-zope>=1.0.9",
    "pytest>=8",
    "ruff>=0.8",
    "trustme>=1.2",
]
GSSAPI = ["gssapi>=1.8"]  # built from source: needs a C compiler and Kerberos (Debian: libkrb5-dev)
DOCS = ["furo>=2024.8", "sphinx>=7.4"]
FUZZ = ["atheris>=2.3"]
RELEASE = ["build>=1.2", "towncrier>=24.8", "setuptools>=68", "wheel>=0.42"]

setup(
    name="remotevirt",
    version=version(),
    description="libvirt's RPC protocol in Python with Twisted: write a hypervisor driver, keep virsh",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the remotevirt authors",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    # The mapping is spelt out so that an editable install puts this folder itself on the path: Twisted finds
    # the plug-ins in twisted/plugins below every folder of the path, and nowhere else.
    package_dir={"": "."},
    # twisted/ has no __init__.py on purpose: it only carries plug-ins into the package of that name.
    packages=[*find_packages(include=["remotevirt", "remotevirt.*"]), "twisted.plugins"],
    package_data={
        "remotevirt": ["py.typed", "protocol/*.x", "protocol/*.json", "protocol/remote/*.x"],
        "remotevirt.observe": ["page.css", "page.js"],
        "remotevirt.units": ["*.service", "*.socket"],
    },
    include_package_data=False,
    zip_safe=False,
    install_requires=[
        "attrs>=23.2",
        "constantly>=15.1",
        "cryptography>=42",
        "lxml>=5.2",
        "prometheus-client>=0.21",
        "pyOpenSSL>=24.3",
        "scramp>=1.5",
        "twisted[tls]>=26.4",
        "xdrlib3>=0.1.1",
        "zope.interface>=6.3",
    ],
    extras_require={
        "gssapi": GSSAPI,
        "test": TEST,
        "docs": DOCS,
        "fuzz": FUZZ,
        "dev": [*TEST, *DOCS, *RELEASE],
    },
    entry_points={
        "console_scripts": [
            "remotevirt-fake = remotevirt.testing.command:main",
            "remotevirt-passwd = remotevirt.auth.passwd:run",
            "remotevirt-policy = remotevirt.policy.cli:main",
        ],
        "remotevirt.drivers": [
            "fake = remotevirt.testing.driver:FakeDriver",
            "qemu = remotevirt.drivers.qemu.driver:QemuDriver",
            "test = remotevirt.drivers.test.driver:TestDriver",
        ],
        "pytest11": ["remotevirt = remotevirt.pytest_plugin"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: Twisted",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: System :: Emulators",
        "Typing :: Typed",
    ],
)
