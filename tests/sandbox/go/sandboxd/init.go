// GNU General Public License v3.0+ (see LICENSE)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	pollEvery = 50 * time.Millisecond
	tailLines = 25
)

// initConfig is written by tests/sandbox/components.py.
type initConfig struct {
	HostPIDFile string            `json:"host_pid_file"`
	ReadyFile   string            `json:"ready_file"`
	FailedFile  string            `json:"failed_file"`
	Hostname    string            `json:"hostname"`
	Namespaces  namespaceConfig   `json:"namespaces"`
	Environment map[string]string `json:"environment"`
	Stages      [][]component     `json:"stages"`
}

// component is one program. All of a stage are started together; the next stage starts when all of it are ready.
type component struct {
	Name      string   `json:"name"`
	Argv      []string `json:"argv"`
	Directory string   `json:"directory"`
	Log       string   `json:"log"`
	Ready     *ready   `json:"ready"`
	// Environment comes on top of what all components have.
	Environment map[string]string `json:"environment"`
	// Needs is a file without which the component isn't started (and its absence is said).
	Needs string `json:"needs"`
	// Expendable: its death is reported but doesn't end the cluster, and SIGHUP starts it anew.
	Expendable bool `json:"expendable"`
}

type ready struct {
	URL     string  `json:"url"`
	CA      string  `json:"ca"`
	TCP     string  `json:"tcp"`
	Unix    string  `json:"unix"`
	Seconds float64 `json:"seconds"`
}

type supervisor struct {
	path    string
	config  initConfig
	mu      sync.Mutex
	running map[int]*process
	byName  map[string]*process
	deaths  chan death
}

type process struct {
	component component
	pid       int
	started   time.Time
	gone      chan struct{}
	// wanted is false once we ended it ourselves.
	wanted bool
}

type death struct {
	process *process
	status  syscall.WaitStatus
}

func runInit(path string) error {
	var config initConfig
	if err := readConfig(path, &config); err != nil {
		return err
	}
	if os.Getpid() != 1 {
		return errors.New("expected to be PID 1 of a private PID namespace")
	}
	s := &supervisor{path: path, config: config, running: map[int]*process{}, byName: map[string]*process{}, deaths: make(chan death, 64)}
	err := s.run()
	if err != nil {
		fmt.Println("sandbox-init: the cluster ends:", err)
		if writeErr := writeFileAtomically(config.FailedFile, err.Error()+"\n"); writeErr != nil {
			fmt.Println("sandbox-init:", writeErr)
		}
	}
	return err // the kernel ends every process of the namespace with PID 1
}

func (s *supervisor) run() error {
	began := time.Now()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	go s.reap(children)

	if err := prepareNamespaces(s.config); err != nil {
		return err
	}
	for key, value := range s.config.Environment {
		if err := os.Setenv(key, value); err != nil {
			return err
		}
	}
	startedAll := make(chan error, 1)
	go func() { startedAll <- s.startStages(began) }()
	for {
		select {
		case err := <-startedAll:
			if err != nil {
				return err
			}
			if err := writeFileAtomically(s.config.ReadyFile, fmt.Sprintf("%.1f\n", time.Since(began).Seconds())); err != nil {
				return err
			}
		case d := <-s.deaths:
			if err := s.judge(d); err != nil {
				return err
			}
		case received := <-signals:
			if received != syscall.SIGHUP {
				return fmt.Errorf("received %s", received)
			}
			s.restartExpendable()
		}
	}
}

func (s *supervisor) startStages(began time.Time) error {
	for _, stage := range s.config.Stages {
		for _, c := range stage {
			if err := s.start(c); err != nil {
				return err
			}
		}
		for _, c := range stage {
			if err := s.awaitReady(c, began); err != nil {
				if c.Expendable {
					fmt.Println("sandbox-init:", err)
					continue
				}
				return err
			}
		}
	}
	return nil
}

func (s *supervisor) start(c component) error {
	if c.Needs != "" {
		if _, err := os.Stat(c.Needs); err != nil {
			fmt.Printf("sandbox-init: %s isn't started: %s is missing\n", c.Name, c.Needs)
			return nil
		}
	}
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	var environment []string // of a name that comes twice, the first counts
	for key, value := range c.Environment {
		environment = append(environment, key+"="+value)
	}
	environment = append(environment, os.Environ()...)
	s.mu.Lock() // held until the process is known, so that reap can't meet a stranger
	defer s.mu.Unlock()
	pid, err := syscall.ForkExec(c.Argv[0], c.Argv, &syscall.ProcAttr{
		Dir:   c.Directory,
		Env:   environment,
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("can't start %s (%s): %w", c.Name, c.Argv[0], err)
	}
	p := &process{component: c, pid: pid, started: time.Now(), gone: make(chan struct{}), wanted: true}
	s.running[pid] = p
	s.byName[c.Name] = p
	return nil
}

// reap collects every child: the components, and whatever the kernel handed to PID 1.
func (s *supervisor) reap(children <-chan os.Signal) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil { // no children: wait for the first
			<-children
			continue
		}
		s.mu.Lock()
		p := s.running[pid]
		delete(s.running, pid)
		s.mu.Unlock()
		if p != nil {
			close(p.gone)
			s.deaths <- death{p, status}
		}
	}
}

func (s *supervisor) judge(d death) error {
	s.mu.Lock()
	wanted := d.process.wanted
	s.mu.Unlock()
	if !wanted {
		return nil
	}
	c := d.process.component
	how := fmt.Sprintf("exited with status %d", d.status.ExitStatus())
	if d.status.Signaled() {
		how = fmt.Sprintf("was ended by signal %d (%s)", d.status.Signal(), d.status.Signal())
	}
	message := fmt.Sprintf("component %s %s after %.1f s. End of %s:\n%s",
		c.Name, how, time.Since(d.process.started).Seconds(), filepath.Base(c.Log), tail(c.Log))
	if c.Expendable {
		fmt.Println("sandbox-init:", message)
		return nil
	}
	return errors.New(message)
}

// restartExpendable serves SIGHUP: the Entra double can be renewed, also with another command line, without a new cluster.
func (s *supervisor) restartExpendable() {
	var config initConfig
	if err := readConfig(s.path, &config); err != nil {
		fmt.Println("sandbox-init:", err)
		return
	}
	for _, stage := range config.Stages {
		for _, c := range stage {
			if !c.Expendable {
				continue
			}
			s.mu.Lock()
			old := s.byName[c.Name]
			if old != nil && s.running[old.pid] == old {
				old.wanted = false
				_ = syscall.Kill(old.pid, syscall.SIGKILL)
			}
			s.mu.Unlock()
			if old != nil {
				select {
				case <-old.gone:
				case <-time.After(5 * time.Second):
					fmt.Printf("sandbox-init: %s doesn't end within 5 s of SIGKILL\n", c.Name)
					continue
				}
			}
			if err := s.start(c); err != nil {
				fmt.Println("sandbox-init:", err)
				continue
			}
			fmt.Printf("sandbox-init: %s started anew\n", c.Name)
		}
	}
}

func (s *supervisor) awaitReady(c component, began time.Time) error {
	if c.Ready == nil {
		return nil
	}
	s.mu.Lock()
	p := s.byName[c.Name]
	s.mu.Unlock()
	if p == nil { // wasn't started, and that has been said
		return nil
	}
	probe, what, err := c.Ready.probe()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(time.Duration(c.Ready.Seconds * float64(time.Second)))
	for {
		err := probe()
		if err == nil {
			fmt.Printf("sandbox-init: %5.1f s  %s ready\n", time.Since(began).Seconds(), c.Name)
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("component %s isn't ready: %s didn't answer within %.0f s (%w). End of %s:\n%s",
				c.Name, what, c.Ready.Seconds, err, filepath.Base(c.Log), tail(c.Log))
		}
		select {
		case <-p.gone:
			if c.Expendable {
				return nil
			}
			return fmt.Errorf("component %s ended before it was ready. End of %s:\n%s", c.Name, filepath.Base(c.Log), tail(c.Log))
		case <-time.After(pollEvery):
		}
	}
}

func (r *ready) probe() (func() error, string, error) {
	connect := func(network, address string) func() error {
		return func() error {
			conn, err := net.DialTimeout(network, address, time.Second)
			if err == nil {
				conn.Close()
			}
			return err
		}
	}
	switch {
	case r.TCP != "":
		return connect("tcp", r.TCP), r.TCP, nil
	case r.Unix != "":
		return connect("unix", r.Unix), r.Unix, nil
	}
	transport := &http.Transport{DisableKeepAlives: true}
	if r.CA != "" {
		pem, err := os.ReadFile(r.CA)
		if err != nil {
			return nil, "", err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, "", fmt.Errorf("%s holds no certificate", r.CA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	return func() error {
		response, err := client.Get(r.URL)
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("HTTP %d", response.StatusCode)
		}
		return nil
	}, r.URL, nil
}

// tail returns the last lines of a log, reading no more than its end.
func tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	const window = 16 << 10
	if info, err := file.Stat(); err == nil && info.Size() > window {
		if _, err := file.Seek(-window, 2); err != nil {
			return err.Error()
		}
	}
	buffer := make([]byte, window)
	n, _ := file.Read(buffer)
	lines := strings.Split(strings.TrimRight(string(buffer[:n]), "\n"), "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return "  | " + strings.Join(lines, "\n  | ")
}
