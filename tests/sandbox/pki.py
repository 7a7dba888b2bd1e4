# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two authorities: the sandbox CA (once per machine, constrained to the sandbox's names) and the Kubernetes one (per cluster)."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .settings import API_SERVICE_IP, DOMAIN, ENTRA_HOSTS, NODE_IP, NODE_NAME, TEAMS, Layout

CA_DAYS = 3650
LEAF_DAYS = 365
# A Gateway certificate covers one label; teams may own a subzone, so these are in it too.
GATEWAY_NAMES = (DOMAIN, f"*.{DOMAIN}", *(f"*.{team}.{DOMAIN}" for team in TEAMS))

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, common_name: str, organization: str | None = None, names: Sequence[str] = ()) -> tuple[bytes, bytes]:
        """A certificate for servers and clients; returns certificate and key as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(common_name, organization), self.certificate.subject, key, LEAF_DAYS)
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), key_pem(key)


def new_authority(common_name: str, permitted: Sequence[str] = ()) -> Authority:
    """A self-signed CA; ``permitted`` limits the DNS names it can vouch for (RFC 5280, 4.2.1.10)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    builder = (
        _builder(name, name, key, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(digital_signature=True, sign=True), critical=True)
    )
    if permitted:
        no_address = [x509.IPAddress(ipaddress.ip_network(network)) for network in ("0.0.0.0/0", "::/0")]
        constraint = x509.NameConstraints([x509.DNSName(entry) for entry in permitted], no_address)
        builder = builder.add_extension(constraint, critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def sandbox_authority() -> Authority:
    return new_authority("Gateway auth sandbox CA (trust it nowhere else)", permitted=(DOMAIN, *ENTRA_HOSTS))


def load_authority(folder: Path) -> Authority:
    certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{folder / 'ca.key'}: expected an EC key")
    return Authority(certificate, key)


def write_private(path: Path, content: bytes) -> None:
    """Readable by the owner only, from the first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def key_pem(key: PrivateKey) -> bytes:
    # kube-controller-manager reads an RSA key in PKCS#1 or PKCS#8 alike; Envoy and Python too.
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def write_cluster_pki(layout: Layout, sandbox_ca: Authority, api_url: str) -> None:
    """All keys, certificates and kubeconfigs of one cluster."""
    folder = layout.pki
    folder.mkdir(mode=0o700, parents=True)
    kubernetes = new_authority("kubernetes")

    def store(stem: str, pair: tuple[bytes, bytes]) -> None:
        (folder / f"{stem}.crt").write_bytes(pair[0])
        write_private(folder / f"{stem}.key", pair[1])

    store("ca", (kubernetes.pem, key_pem(kubernetes.key)))
    service_accounts = rsa.generate_private_key(65537, 2048)
    write_private(folder / "sa.key", key_pem(service_accounts))
    public = service_accounts.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "sa.pub").write_bytes(public)
    service = "kubernetes.default.svc"
    names = ["kubernetes", "kubernetes.default", service, f"{service}.cluster.local", "localhost", "127.0.0.1", NODE_IP, API_SERVICE_IP]
    store("apiserver", kubernetes.issue("kube-apiserver", names=names))
    store("apiserver-kubelet-client", kubernetes.issue("kube-apiserver-kubelet-client", "system:masters"))
    store("front-proxy-client", kubernetes.issue("front-proxy-client"))
    store("kubelet", kubernetes.issue(NODE_NAME, names=[NODE_NAME, NODE_IP, "127.0.0.1"]))
    store("gateway", sandbox_ca.issue("gateway", names=GATEWAY_NAMES))
    store("entra", sandbox_ca.issue("entra-double", names=ENTRA_HOSTS))

    inside = "https://127.0.0.1:6443"
    masters = "system:masters"
    for path, user, organization, server in (
        (folder / "kcm.kubeconfig", "system:kube-controller-manager", None, inside),
        (folder / "scheduler.kubeconfig", "system:kube-scheduler", None, inside),
        (folder / "kubelet.kubeconfig", f"system:node:{NODE_NAME}", "system:nodes", inside),
        (folder / "kube-proxy.kubeconfig", "system:kube-proxy", None, inside),
        (folder / "lb.kubeconfig", "sandbox-lb", masters, inside),
        (layout.setup_kubeconfig, "sandbox-setup", masters, api_url),
        (layout.kubeconfig, "kubernetes-admin", masters, api_url),
    ):
        write_private(path, kubeconfig(kubernetes, user, organization, server))


def kubeconfig(authority: Authority, user: str, organization: str | None, server: str) -> bytes:
    certificate, key = authority.issue(user, organization)

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    name = "gateway-auth-sandbox"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": text(authority.pem)}}],
        "users": [{"name": user, "user": {"client-certificate-data": text(certificate), "client-key-data": text(key)}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    }
    return json.dumps(config, indent=1).encode() + b"\n"


def _builder(subject: x509.Name, issuer: x509.Name, key: PrivateKey, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, digital_signature: bool, sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str, organization: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
