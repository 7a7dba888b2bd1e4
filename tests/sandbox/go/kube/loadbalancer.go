// GNU General Public License v3.0+ (see LICENSE)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	writeTimeout = 5 * time.Second
	// Every Service is looked at again this often, so a write that failed is tried again.
	resync = 5 * time.Second
)

// pool hands out the addresses of Services of type LoadBalancer; kube-proxy makes them work.
type pool struct {
	mu    sync.Mutex
	first netip.Addr
	last  netip.Addr
	// reserved[label "key=value"] is the address of the Service with that label, and of no other.
	reserved map[string]netip.Addr
	owners   map[netip.Addr]string
}

// choose returns the address for a Service, remembering who owns it. An address that the Service already has is kept.
func (p *pool) choose(key string, labels map[string]string, current string) (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := map[netip.Addr]bool{}
	for selector, addr := range p.reserved {
		name, value, _ := strings.Cut(selector, "=")
		if labels[name] == value && (p.owners[addr] == "" || p.owners[addr] == key) {
			p.owners[addr] = key
			return addr, nil
		}
		taken[addr] = true
	}
	if addr, err := netip.ParseAddr(current); err == nil && !taken[addr] && (p.owners[addr] == "" || p.owners[addr] == key) {
		p.owners[addr] = key
		return addr, nil
	}
	for addr := p.first; addr.Compare(p.last) <= 0; addr = addr.Next() {
		if taken[addr] || (p.owners[addr] != "" && p.owners[addr] != key) {
			continue
		}
		p.owners[addr] = key
		return addr, nil
	}
	return netip.Addr{}, fmt.Errorf("no address left between %s and %s for Service %s", p.first, p.last, key)
}

func (p *pool) release(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr, owner := range p.owners {
		if owner == key {
			delete(p.owners, addr)
		}
	}
}

// answerLoadBalancers does what a cloud's controller would: it writes status.loadBalancer of each LoadBalancer Service.
func answerLoadBalancers(args []string) error {
	flags := flag.NewFlagSet("sandbox-lb", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig to use")
	first := flags.String("first", "", "first address of the range")
	last := flags.String("last", "", "last address of the range")
	p := &pool{reserved: map[string]netip.Addr{}, owners: map[netip.Addr]string{}}
	flags.Func("reserve", "LABEL=VALUE@ADDRESS: fixed address of the Service with that label (may be repeated)", func(s string) error {
		selector, text, ok := strings.Cut(s, "@")
		addr, err := netip.ParseAddr(text)
		if !ok || err != nil || !strings.Contains(selector, "=") {
			return fmt.Errorf("expected LABEL=VALUE@ADDRESS, got %q", s)
		}
		p.reserved[selector] = addr
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if p.first, err = netip.ParseAddr(*first); err != nil {
		return fmt.Errorf("-first: %w", err)
	}
	if p.last, err = netip.ParseAddr(*last); err != nil {
		return fmt.Errorf("-last: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	answer := func(obj any) {
		service, ok := obj.(*corev1.Service)
		if !ok {
			return
		}
		key := service.Namespace + "/" + service.Name
		if service.Spec.Type != corev1.ServiceTypeLoadBalancer {
			p.release(key)
			return
		}
		current := ""
		if ingress := service.Status.LoadBalancer.Ingress; len(ingress) > 0 {
			current = ingress[0].IP
		}
		addr, err := p.choose(key, service.Labels, current)
		if err != nil {
			fmt.Fprintln(os.Stderr, "sandbox-lb:", err)
			return
		}
		if addr.String() == current {
			return
		}
		update := service.DeepCopy()
		update.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: addr.String()}}
		writeCtx, cancel := context.WithTimeout(ctx, writeTimeout)
		defer cancel()
		_, err = client.CoreV1().Services(service.Namespace).UpdateStatus(writeCtx, update, metav1.UpdateOptions{})
		switch {
		case err == nil:
			fmt.Printf("sandbox-lb: Service %s has address %s\n", key, addr)
		case apierrors.IsConflict(err) || apierrors.IsNotFound(err): // the next event brings the newer object
		default:
			fmt.Fprintf(os.Stderr, "sandbox-lb: Service %s: %v (tried again within %s)\n", key, err, resync)
		}
	}
	factory := informers.NewSharedInformerFactory(client, resync)
	_, err = factory.Core().V1().Services().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    answer,
		UpdateFunc: func(_, obj any) { answer(obj) },
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if service, ok := obj.(*corev1.Service); ok {
				p.release(service.Namespace + "/" + service.Name)
			}
		},
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
	return nil
}
