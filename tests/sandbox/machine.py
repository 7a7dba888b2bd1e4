# GNU General Public License v3.0+ (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine must offer, tried out before anything is changed; each lack comes with its remedy."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

from . import cgroups
from .settings import Layout, SandboxError

CAP_SYS_ADMIN, CAP_NET_ADMIN = 21, 12
CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000
MS_REC, MS_PRIVATE = 1 << 14, 1 << 18
NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
NLMSG_ERROR = 2


def check_machine(layout: Layout) -> None:
    """Everything the machine must offer, each with what to do about it, before anything is changed."""
    wrong: list[str] = []
    engine = "Or use SANDBOX=kind with a container engine."
    if os.geteuid() != 0:
        raise SandboxError(f"Expected to run as root (namespaces, mounts and cgroups are made). Try: sudo make sandbox. {engine}")
    effective = next(int(line.split()[1], 16) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    for name, number in (("CAP_SYS_ADMIN", CAP_SYS_ADMIN), ("CAP_NET_ADMIN", CAP_NET_ADMIN)):
        if not effective >> number & 1:
            wrong.append(f"Expected {name}; root in this container hasn't got it. Start the container with --privileged. {engine}")
    for tool, package in (("unshare", "util-linux"), ("nsenter", "util-linux"), ("mount", "mount"), ("ldd", "libc-bin"), ("tar", "tar")):
        if shutil.which(tool) is None:
            wrong.append(f"Expected the command {tool}. Install it: apt-get install {package}")
    if wrong:
        raise SandboxError("\n".join(wrong))
    probe = _probe_kernel(layout)
    if probe:
        raise SandboxError(f"{probe} {engine}")
    cgroups.plan(layout.cgroup_name)


def _probe_kernel(layout: Layout) -> str | None:
    """Try namespaces, overlayfs, veth and nf_tables in a child that leaves nothing."""
    folder = layout.state / "probe"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("lower", "upper", "work", "merged"):
        (folder / name).mkdir(parents=True)
    try:
        child = subprocess.run(
            [sys.executable, "-c", "from tests.sandbox import machine; machine.probe_in_child()", str(folder)],
            cwd=layout.checkout,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "The probe of the kernel's features hung for 30 s."
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None if child.returncode == 0 else (child.stdout.strip() or child.stderr.strip())


def probe_in_child() -> None:
    """Runs as a process of its own: prints what's missing and exits with 1."""
    folder = sys.argv[1]
    libc = ctypes.CDLL(None, use_errno=True)

    def need(result: int, message: str) -> None:
        if result != 0:
            print(f"{message} ({os.strerror(ctypes.get_errno())}).")
            raise SystemExit(1)

    need(libc.unshare(CLONE_NEWNET | CLONE_NEWNS), "Expected to be allowed to make network and mount namespaces")
    need(libc.mount(b"none", b"/", None, MS_PRIVATE | MS_REC, None), "Expected to be allowed to mount")
    options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work".encode()
    merged = f"{folder}/merged".encode()
    need(libc.mount(b"overlay", merged, b"overlay", 0, options), f"Expected overlayfs on the file system of {folder}; put the checkout on ext4 or xfs")
    need(libc.umount2(merged, 0), "Expected to unmount overlayfs")
    _probe_netlink()


def _probe_netlink() -> None:
    """Create a veth pair and read the nf_tables generation, by raw netlink messages: neither ip nor nft need be there."""

    def ask(protocol: int, kind: int, flags: int, body: bytes) -> int:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as link:
            link.settimeout(5)
            link.send(struct.pack("=IHHII", 16 + len(body), kind, flags | 1, 1, 0) + body)
            answer = link.recv(65536)
        if struct.unpack_from("=H", answer, 4)[0] != NLMSG_ERROR:
            return 0
        return int(struct.unpack_from("=i", answer, 16)[0])

    def attribute(kind: int, value: bytes) -> bytes:
        size = 4 + len(value)
        return struct.pack("=HH", size, kind) + value + b"\0" * (-size % 4)

    # RTM_NEWLINK, NLM_F_CREATE|NLM_F_EXCL|NLM_F_ACK, IFLA_LINKINFO{IFLA_INFO_KIND "veth"}
    veth = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(18, attribute(1, b"veth"))
    if ask(NETLINK_ROUTE, 16, 0x600 | 4, veth):
        print("Expected the kernel's veth interfaces (CONFIG_VETH). Try: modprobe veth.")
        raise SystemExit(1)
    # NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN
    if ask(NETLINK_NETFILTER, 10 << 8 | 16, 0, struct.pack("=BBH", 0, 0, 0)):
        print("Expected the kernel's nf_tables (CONFIG_NF_TABLES). Try: modprobe nf_tables.")
        raise SystemExit(1)
