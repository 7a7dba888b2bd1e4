// GNU General Public License v3.0+ (see LICENSE)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command kube is etcd and every Kubernetes component of the embedded cluster in one static binary.
//
// The component is chosen by the name the binary is called by (a symlink named kubelet, etcd, ...) or by its first
// argument ("kube kubelet ..."). Sharing one binary shares its read-only pages between six processes and links the
// common dependencies once.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kubeproxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	name := filepath.Base(os.Args[0])
	if name == "kube" && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	var cmd *cobra.Command
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
		return
	case "kube-apiserver":
		cmd = apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		cmd = kcm.NewControllerManagerCommand()
	case "kube-scheduler":
		cmd = scheduler.NewSchedulerCommand()
	case "kubelet":
		cmd = kubelet.NewKubeletCommand(context.Background())
	case "kube-proxy":
		cmd = kubeproxy.NewProxyCommand()
	case "sandbox-lb":
		if err := answerLoadBalancers(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "sandbox-lb:", err)
			os.Exit(1)
		}
		return
	default:
		fmt.Fprintf(os.Stderr, "kube: %q is no component of the sandbox\n", name)
		os.Exit(2)
	}
	os.Exit(cli.Run(cmd))
}
