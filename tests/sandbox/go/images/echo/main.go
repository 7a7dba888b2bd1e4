// GNU General Public License v3.0+ (see LICENSE)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command echo answers every request with what arrived, as JSON. It's the app behind the Gateway whose view tests
// need: which headers, which path bytes.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	pod, _ := os.Hostname()
	server := &http.Server{
		Addr:              ":8080",
		ReadHeaderTimeout: 10 * time.Second,
		// Not a ServeMux: that would clean the path.
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{
				"pod":     pod,
				"method":  r.Method,
				"host":    r.Host,
				"path":    r.RequestURI, // as received, with the query
				"headers": r.Header,
			})
		}),
	}
	log.Fatal(server.ListenAndServe())
}
