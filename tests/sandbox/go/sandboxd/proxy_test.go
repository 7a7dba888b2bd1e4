// GNU General Public License v3.0+ (see LICENSE)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"strings"
	"testing"
)

func TestOriginFormKeepsThePathAndDropsProxyFields(t *testing.T) {
	fields := "Host: a.gateway-auth.test\r\nProxy-Connection: keep-alive\r\nConnection: keep-alive\r\nX-A: 1\r\n"
	got := string(originForm("GET", "/graph?g0.expr=up%20x&a=//b", "HTTP/1.1", []byte(fields)))
	want := "GET /graph?g0.expr=up%20x&a=//b HTTP/1.1\r\nHost: a.gateway-auth.test\r\nX-A: 1\r\nConnection: close\r\n\r\n"
	if got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestOriginFormKeepsAnUpgrade(t *testing.T) {
	got := string(originForm("GET", "/", "HTTP/1.1", []byte("Connection: Upgrade\r\nUpgrade: websocket\r\n")))
	if !strings.Contains(got, "Connection: Upgrade\r\n") || strings.Contains(got, "close") {
		t.Fatalf("got %q", got)
	}
}

func TestRoutesAreExactOrBySuffix(t *testing.T) {
	p := &proxy{routes: map[string]map[string]string{
		"*.gateway-auth.test":       {"443": "gw:443", "80": "gw:80"},
		"login.microsoftonline.com": {"443": "entra:443"},
	}}
	for target, want := range map[string]string{
		"prometheus-team-a.gateway-auth.test:443": "gw:443",
		"PROMETHEUS.Gateway-Auth.test.:80":        "gw:80",
		"login.microsoftonline.com:443":           "entra:443",
		"login.microsoftonline.com:80":            "",
		"a.b.gateway-auth.test:443":               "gw:443",
		"gateway-auth.test:443":                   "",
		"evil.test:443":                           "",
		"gateway-auth.test.evil.test:443":         "",
		"127.0.0.1:443":                           "",
		"no-port.gateway-auth.test":               "",
	} {
		if got, _ := p.route(target); got != want {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
	}
}

func TestReadHeadIsBounded(t *testing.T) {
	if _, err := readHead(bufio.NewReaderSize(strings.NewReader("GET / HTTP/1.1\r\nA: "+strings.Repeat("x", headLimit)), 4096)); err == nil {
		t.Fatal("expected an error for a head that never ends")
	}
	head, err := readHead(bufio.NewReaderSize(strings.NewReader("GET / HTTP/1.1\r\nA: b\r\n\r\nbody"), 4096))
	if err != nil || string(head) != "GET / HTTP/1.1\r\nA: b\r\n" {
		t.Fatalf("got %q, %v", head, err)
	}
}
