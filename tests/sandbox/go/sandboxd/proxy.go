// GNU General Public License v3.0+ (see LICENSE)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	headLimit   = 64 << 10
	headTimeout = 10 * time.Second
	dialTimeout = 5 * time.Second
	// Each dialer is one OS thread that lives in the cluster's network namespace.
	dialers = 4
)

// proxyConfig is written by tests/sandbox/components.py.
type proxyConfig struct {
	// InitPID is PID 1 of the cluster as the machine sees it; the proxy ends with it.
	InitPID int `json:"init_pid"`
	// Namespace is the file of the network namespace to dial in; empty: the machine's own (kind).
	Namespace string `json:"namespace"`
	Listen    string `json:"listen"`
	ReadyFile string `json:"ready_file"`
	// Routes: name or "*.suffix" -> port -> address. Anything else is refused.
	Routes map[string]map[string]string `json:"routes"`
	// Relays: address on the machine -> address inside.
	Relays map[string]string `json:"relays"`
}

type dialFunc func(address string) (net.Conn, error)

func runProxy(path string) error {
	var config proxyConfig
	if err := readConfig(path, &config); err != nil {
		return err
	}
	dial, err := newDialer(config.Namespace)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	if config.InitPID != 0 {
		pidfd, err := unix.PidfdOpen(config.InitPID, 0)
		if err != nil {
			return fmt.Errorf("PID 1 of the cluster (%d): %w", config.InitPID, err)
		}
		go func() {
			for {
				_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1)
				if !errors.Is(err, unix.EINTR) {
					ended <- errors.New("the cluster has ended")
					return
				}
			}
		}()
	}
	serve := func(address string, handle func(net.Conn)) error {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					// Out of file descriptors, for example: let the connections in hand finish first.
					fmt.Println("sandbox-proxy: accept:", err)
					time.Sleep(pollEvery)
					continue
				}
				go handle(conn)
			}
		}()
		return nil
	}
	p := &proxy{routes: config.Routes, dial: dial}
	if err := serve(config.Listen, p.handle); err != nil {
		return err
	}
	for from, to := range config.Relays {
		if err := serve(from, func(client net.Conn) {
			defer client.Close()
			upstream, err := dial(to)
			if err != nil {
				return // the client sees a closed connection, as from a dead port
			}
			defer upstream.Close()
			splice(client, client, upstream)
		}); err != nil {
			return err
		}
	}
	if err := writeFileAtomically(config.ReadyFile, fmt.Sprintln(os.Getpid())); err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	select {
	case err := <-ended:
		return err
	case <-signals:
		return nil
	}
}

// newDialer dials inside another network namespace. A socket belongs to the namespace of the thread that made it, so
// it's enough to make it on a thread that has moved there for good.
func newDialer(namespace string) (dialFunc, error) {
	if namespace == "" {
		return func(address string) (net.Conn, error) { return net.DialTimeout("tcp", address, dialTimeout) }, nil
	}
	file, err := os.Open(namespace)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	type request struct {
		address string
		answer  chan<- func() (net.Conn, error)
	}
	requests := make(chan request)
	moved := make(chan error, dialers)
	for range dialers {
		go func() {
			runtime.LockOSThread()
			if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
				moved <- fmt.Errorf("enter %s: %w", namespace, err)
				return
			}
			moved <- nil
			for r := range requests {
				conn, err := net.DialTimeout("tcp", r.address, dialTimeout)
				r.answer <- func() (net.Conn, error) { return conn, err }
			}
		}()
	}
	for range dialers {
		if err := <-moved; err != nil {
			return nil, err
		}
	}
	return func(address string) (net.Conn, error) {
		answer := make(chan func() (net.Conn, error), 1)
		requests <- request{address, answer}
		return (<-answer)()
	}, nil
}

type proxy struct {
	routes map[string]map[string]string
	dial   dialFunc
}

// handle serves one client connection: a CONNECT tunnel, or one plain request with an absolute URI.
func (p *proxy) handle(client net.Conn) {
	defer client.Close()
	if err := client.SetReadDeadline(time.Now().Add(headTimeout)); err != nil {
		return
	}
	reader := bufio.NewReaderSize(client, 4096)
	head, err := readHead(reader)
	if err != nil {
		if !errors.Is(err, io.EOF) {
			refuse(client, "400 Bad Request", fmt.Sprintf("expected a request head within %s and %d bytes: %v", headTimeout, headLimit, err))
		}
		return
	}
	if err := client.SetReadDeadline(time.Time{}); err != nil {
		return
	}
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	parts := strings.Split(string(line), " ")
	if len(parts) != 3 || !strings.HasPrefix(parts[2], "HTTP/1.") {
		refuse(client, "400 Bad Request", fmt.Sprintf("expected an HTTP/1.1 request line, got %q", line))
		return
	}
	method, target, version := parts[0], parts[1], parts[2]
	if method == "CONNECT" {
		upstream, ok := p.open(client, target)
		if !ok {
			return
		}
		defer upstream.Close()
		if _, err := io.WriteString(client, "HTTP/1.1 200 Connection Established\r\n\r\n"); err != nil {
			return
		}
		splice(client, reader, upstream)
		return
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !strings.EqualFold(scheme, "http") {
		refuse(client, "400 Bad Request", fmt.Sprintf("expected CONNECT or an absolute http:// URI, got %q", target))
		return
	}
	authority, origin := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, origin = rest[:i], rest[i:]
	}
	if !strings.HasPrefix(origin, "/") {
		origin = "/" + origin
	}
	upstream, ok := p.open(client, withPort(authority, "80"))
	if !ok {
		return
	}
	defer upstream.Close()
	if _, err := upstream.Write(originForm(method, origin, version, fields)); err != nil {
		return
	}
	splice(client, reader, upstream)
}

// originForm is the request head with the path as it came, byte for byte. The connection is closed after the answer,
// since a second request on it would come in absolute form again; upgrades keep theirs.
func originForm(method, origin, version string, fields []byte) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s %s\r\n", method, origin, version)
	upgrade := false
	var kept [][]byte
	for _, field := range bytes.SplitAfter(fields, []byte("\r\n")) {
		name, value, _ := bytes.Cut(field, []byte(":"))
		switch strings.ToLower(string(bytes.TrimSpace(name))) {
		case "":
			continue
		case "proxy-connection", "proxy-authorization":
			continue
		case "connection":
			if bytes.Contains(bytes.ToLower(value), []byte("upgrade")) {
				upgrade = true
				break
			}
			continue
		}
		kept = append(kept, field)
	}
	if !upgrade {
		kept = append(kept, []byte("Connection: close\r\n"))
	}
	for _, field := range kept {
		out.Write(field)
	}
	out.WriteString("\r\n")
	return out.Bytes()
}

// open dials where a "host:port" leads, or answers the client why it doesn't.
func (p *proxy) open(client net.Conn, target string) (net.Conn, bool) {
	address, ok := p.route(target)
	if !ok {
		refuse(client, "403 Forbidden", fmt.Sprintf("the sandbox has no way to %s; it knows %s", target, p.known()))
		return nil, false
	}
	upstream, err := p.dial(address)
	if err != nil {
		refuse(client, "502 Bad Gateway", fmt.Sprintf("%s (%s in the sandbox) doesn't answer: %v", target, address, err))
		return nil, false
	}
	return upstream, true
}

func (p *proxy) route(target string) (string, bool) {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return "", false
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if address, ok := p.routes[host][port]; ok {
		return address, true
	}
	for rest := host; ; {
		_, suffix, ok := strings.Cut(rest, ".")
		if !ok {
			return "", false
		}
		if address, ok := p.routes["*."+suffix][port]; ok {
			return address, true
		}
		rest = suffix
	}
}

func (p *proxy) known() string {
	var names []string
	for name, ports := range p.routes {
		for port := range ports {
			names = append(names, name+":"+port)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func withPort(authority, port string) string {
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	if _, _, err := net.SplitHostPort(authority); err == nil {
		return authority
	}
	return net.JoinHostPort(authority, port)
}

// readHead reads up to and including the empty line.
func readHead(reader *bufio.Reader) ([]byte, error) {
	var head []byte
	for {
		line, err := reader.ReadSlice('\n')
		head = append(head, line...)
		if len(head) > headLimit {
			return nil, errors.New("too long")
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(head) > 2 && bytes.HasSuffix(head, []byte("\r\n\r\n")) {
			return head[:len(head)-2], nil
		}
		if bytes.HasSuffix(head, []byte("\n\n")) {
			return nil, errors.New("lines must end in CR LF")
		}
	}
}

func refuse(client net.Conn, status, reason string) {
	body := "sandbox-proxy: " + reason + "\n"
	_ = client.SetWriteDeadline(time.Now().Add(headTimeout))
	fmt.Fprintf(client, "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(body), body)
}

// splice copies both ways until both sides have said their last; a side that ends is half closed at the other.
func splice(client net.Conn, fromClient io.Reader, upstream net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := io.Copy(upstream, fromClient)
		closeWrite(upstream, err)
	}()
	_, err := io.Copy(client, upstream)
	closeWrite(client, err)
	if err == nil {
		// The server has said all; a client that never closes must not hold the connection for ever.
		_ = client.SetReadDeadline(time.Now().Add(headTimeout))
	}
	<-done
}

func closeWrite(conn net.Conn, copyErr error) {
	if tcp, ok := conn.(*net.TCPConn); ok && copyErr == nil {
		_ = tcp.CloseWrite()
		return
	}
	_ = conn.Close()
}
