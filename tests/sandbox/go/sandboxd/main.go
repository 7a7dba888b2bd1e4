// GNU General Public License v3.0+ (see LICENSE)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command sandboxd holds the two own programs of the embedded cluster.
//
//	sandboxd init CONFIG    PID 1 of the cluster's namespaces: prepares them, starts the components, watches them
//	sandboxd proxy CONFIG   the one door: loopback ports of the machine that lead into the cluster's network
//
// Both read one JSON file. They are a module of their own, apart from Kubernetes, so that a change here costs a second
// of building and not minutes.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: sandboxd init|proxy CONFIG")
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "init":
		err = runInit(os.Args[2])
	case "proxy":
		err = runProxy(os.Args[2])
	default:
		err = fmt.Errorf("unknown command %q, expected init or proxy", os.Args[1])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "sandboxd %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func readConfig(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeFileAtomically lets a reader see the whole content or no file.
func writeFileAtomically(path, content string) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
