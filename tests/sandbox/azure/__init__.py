# Copyright: platform.gateway_auth contributors
# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A double of Azure Key Vault's secrets and of Azure Resource Manager's AKS clusters, beside the Entra double that gives the tokens."""
