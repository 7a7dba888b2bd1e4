// GNU General Public License v3.0+ (see LICENSE)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// namespaceConfig says what the private namespaces look like.
type namespaceConfig struct {
	// CgroupVersion is 1 or 2; Controllers are the v1 hierarchies as the machine mounts them ("cpu,cpuacct", "memory").
	CgroupVersion int      `json:"cgroup_version"`
	Controllers   []string `json:"controllers"`
	// PrivateDirs become empty tmpfs, but for what is listed in KeepDirs.
	PrivateDirs []string `json:"private_dirs"`
	KeepDirs    []string `json:"keep_dirs"`
	// Binds maps well-known paths to folders of the sandbox: socket paths are limited to 107 bytes, checkouts aren't.
	Binds map[string]string `json:"binds"`
	// ShadowSysctls maps names below /proc/sys to values that are shown instead of the machine's.
	ShadowSysctls map[string]string `json:"shadow_sysctls"`
	ScratchDir    string            `json:"scratch_dir"`
	Addresses     []string          `json:"addresses"`
	Uplink        string            `json:"uplink"`
}

func prepareNamespaces(config initConfig) error {
	// The machine's /proc is still mounted: /proc/self is our PID as seen from outside.
	hostPID, err := os.Readlink("/proc/self")
	if err != nil {
		return err
	}
	ns := config.Namespaces
	// kubelet needs mount propagation to its pods; the namespace itself is private towards the machine.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make / shared: %w", err)
	}
	if err := mountAll(ns); err != nil {
		return err
	}
	if err := shadowSysctls(ns); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(config.Hostname)); err != nil {
		return fmt.Errorf("set hostname: %w", err)
	}
	if err := prepareNetwork(ns); err != nil {
		return err
	}
	// From here on the machine's side may enter, and (cgroup v2) moves our parent out of the cgroup.
	if err := writeFileAtomically(config.HostPIDFile, hostPID+"\n"); err != nil {
		return err
	}
	if ns.CgroupVersion == 2 {
		return delegateControllers("/sys/fs/cgroup")
	}
	return nil
}

func mountAll(ns namespaceConfig) error {
	mount := func(source, target, kind, data string) error {
		if err := unix.Mount(source, target, kind, 0, data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", kind, target, err)
		}
		return nil
	}
	if err := mount("proc", "/proc", "proc", ""); err != nil {
		return err
	}
	if err := mount("sysfs", "/sys", "sysfs", ""); err != nil {
		return err
	}
	if ns.CgroupVersion == 2 {
		if err := mount("cgroup2", "/sys/fs/cgroup", "cgroup2", ""); err != nil {
			return err
		}
	} else {
		if err := mount("tmpfs", "/sys/fs/cgroup", "tmpfs", "mode=755"); err != nil {
			return err
		}
		for _, controllers := range ns.Controllers {
			name, options := controllers, controllers
			if named, ok := strings.CutPrefix(controllers, "name="); ok {
				name, options = named, "none,"+controllers
			}
			target := "/sys/fs/cgroup/" + name
			if err := os.MkdirAll(target, 0o755); err != nil {
				return err
			}
			if err := mount("cgroup", target, "cgroup", options); err != nil {
				return err
			}
			if single := strings.Split(name, ","); len(single) > 1 {
				for _, alias := range single {
					if err := os.Symlink(name, "/sys/fs/cgroup/"+alias); err != nil {
						return err
					}
				}
			}
		}
	}
	if err := makePrivate(ns.PrivateDirs, ns.KeepDirs); err != nil {
		return err
	}
	for target, source := range ns.Binds {
		for _, path := range []string{source, target} {
			if err := os.MkdirAll(path, 0o700); err != nil {
				return err
			}
		}
		if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s to %s: %w", source, target, err)
		}
	}
	return nil
}

// makePrivate hides folders that components write to by fixed names (/var/lib/cni, /var/lib/kubelet/device-plugins,
// /run, ...) behind empty file systems, so that nothing is left on the machine; what is kept is bound back.
func makePrivate(private, keep []string) error {
	for _, directory := range private {
		var kept []string
		var handles []*os.File
		for _, path := range keep {
			if path != directory && !strings.HasPrefix(path, directory+"/") {
				continue
			}
			handle, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
			if err != nil {
				return fmt.Errorf("keep %s: %w", path, err)
			}
			kept, handles = append(kept, path), append(handles, handle)
		}
		if err := unix.Mount("tmpfs", directory, "tmpfs", unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", directory, err)
		}
		for i, path := range kept {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return err
			}
			source := fmt.Sprintf("/proc/self/fd/%d", handles[i].Fd())
			if err := unix.Mount(source, path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
				return fmt.Errorf("keep %s: %w", path, err)
			}
			handles[i].Close()
		}
	}
	return nil
}

// shadowSysctls covers settings of the whole machine that kubelet insists on with files that show what it wants:
// it reads "already right" and writes nothing.
func shadowSysctls(ns namespaceConfig) error {
	if err := os.MkdirAll(ns.ScratchDir, 0o700); err != nil {
		return err
	}
	for name, value := range ns.ShadowSysctls {
		target := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(target); errors.Is(err, os.ErrNotExist) {
			continue
		}
		source := filepath.Join(ns.ScratchDir, strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(source, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("shadow %s: %w", target, err)
		}
	}
	return nil
}

// prepareNetwork makes the node's interface: a veth pair with both ends inside, because not every kernel has dummy
// interfaces, and traffic from the node to a ClusterIP needs a route before it is translated.
func prepareNetwork(ns namespaceConfig) error {
	up := func(name string, addresses ...string) (netlink.Link, error) {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", name, err)
		}
		for _, text := range addresses {
			address, err := netlink.ParseAddr(text)
			if err != nil {
				return nil, err
			}
			if err := netlink.AddrAdd(link, address); err != nil {
				return nil, fmt.Errorf("address %s on %s: %w", text, name, err)
			}
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return nil, fmt.Errorf("interface %s: %w", name, err)
		}
		return link, nil
	}
	if _, err := up("lo"); err != nil {
		return err
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "eth0"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attributes, PeerName: "uplink"}); err != nil {
		return fmt.Errorf("add veth pair: %w", err)
	}
	if _, err := up("uplink", ns.Uplink); err != nil {
		return err
	}
	node, err := up("eth0", ns.Addresses...)
	if err != nil {
		return err
	}
	gateway, err := netlink.ParseAddr(ns.Uplink)
	if err != nil {
		return err
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: node.Attrs().Index, Gw: gateway.IP}); err != nil {
		return fmt.Errorf("default route: %w", err)
	}
	// Belongs to the network namespace, not to the machine.
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

// delegateControllers moves PID 1 into a leaf and enables all controllers for the folders beside it. cgroup v2 allows
// that only once no process is left in the folder itself: the machine's side moves our parent, we move ourselves.
func delegateControllers(root string) error {
	leaf := filepath.Join(root, "init")
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte("0"), 0o644); err != nil {
		return fmt.Errorf("move PID 1 to its leaf cgroup: %w", err)
	}
	available, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return err
	}
	enable := "+" + strings.Join(strings.Fields(string(available)), " +")
	deadline := time.Now().Add(10 * time.Second)
	for {
		err = os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte(enable), 0o644)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return fmt.Errorf("enable cgroup controllers (%s): %w", enable, err)
		}
		time.Sleep(pollEvery)
	}
}
