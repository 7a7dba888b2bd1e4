# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded Kubernetes cluster: ``python -m tests.sandbox up|down|status|build|logs|restart-entra``.

Each module says more about its part:

- ``settings``    addresses, versions, folders
- ``assets``      the machine's cache: each input is fetched or built once, keyed by what it is made of
- ``images``      container images put together from those inputs, and containerd's store of them
- ``pki``         the sandbox CA (machine) and the Kubernetes PKI (cluster)
- ``cgroups``     the cluster's own control group, by which it is ended
- ``components``  command lines and configuration files of all components
- ``contents``    what is applied once the API server answers
- ``install``     applying it and waiting for it
- ``machine``     prerequisites
- ``state``       the files in .sandbox
- ``health``      does it run
- ``cluster``     up, down, status
- ``kind``        the same on a container engine
"""
