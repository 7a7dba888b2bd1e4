// GNU General Public License v3.0+ (see LICENSE)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command echo answers every request with what arrived, as JSON. It's the app behind the Gateway whose view tests
// need: which headers, which path bytes, how much of a body. A request that asks for a WebSocket gets one that says
// the same as its first message and then repeats what it is sent. `?echo-sleep=2s` answers that much later.
package main

import (
	"bufio"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	// RFC 6455, 1.3.
	webSocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	messageLimit  = 1 << 20
	longestSleep  = time.Minute
)

func main() {
	pod, _ := os.Hostname()
	server := &http.Server{
		Addr:              ":8080",
		ReadHeaderTimeout: 10 * time.Second,
		// Not a ServeMux: that would clean the path.
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if pause, err := time.ParseDuration(r.URL.Query().Get("echo-sleep")); err == nil && pause <= longestSleep {
				time.Sleep(pause)
			}
			seen := map[string]any{
				"pod":     pod,
				"method":  r.Method,
				"host":    r.Host,
				"path":    r.RequestURI, // as received, with the query
				"headers": r.Header,
			}
			if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
				webSocket(w, r, seen)
				return
			}
			// To the end, so that a client that sends much isn't cut off by the answer.
			sum := sha256.New()
			size, _ := io.Copy(sum, r.Body)
			seen["body"] = map[string]any{"bytes": size, "sha256": hex.EncodeToString(sum.Sum(nil))}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(seen)
		}),
	}
	log.Fatal(server.ListenAndServe())
}

// webSocket tells what was seen, then repeats each message until the client closes.
func webSocket(w http.ResponseWriter, r *http.Request, seen map[string]any) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		http.Error(w, "no WebSocket on this connection", http.StatusNotImplemented)
		return
	}
	conn, buffered, err := hijacker.Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	accept := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + webSocketGUID))
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(accept[:]))
	first, _ := json.Marshal(seen)
	if sendText(conn, first) != nil {
		return
	}
	for {
		code, message, err := readFrame(buffered.Reader)
		if err != nil || code == 8 {
			return
		}
		if code == 1 && sendText(conn, message) != nil {
			return
		}
	}
}

// readFrame reads one frame of a client, which is always masked (RFC 6455, 5.2).
func readFrame(reader *bufio.Reader) (byte, []byte, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(reader, head); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1] & 0x7f)
	if long := map[uint64]int{126: 2, 127: 8}[size]; long > 0 {
		extended := make([]byte, 8)
		if _, err := io.ReadFull(reader, extended[8-long:]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(extended)
	}
	if head[1]&0x80 == 0 || size > messageLimit {
		return 0, nil, fmt.Errorf("a frame of %d bytes, or without a mask", size)
	}
	mask, message := make([]byte, 4), make([]byte, size)
	if _, err := io.ReadFull(reader, mask); err != nil {
		return 0, nil, err
	}
	if _, err := io.ReadFull(reader, message); err != nil {
		return 0, nil, err
	}
	for i := range message {
		message[i] ^= mask[i%4]
	}
	return head[0] & 0x0f, message, nil
}

func sendText(conn net.Conn, message []byte) error {
	head := []byte{0x81, byte(len(message))}
	switch {
	case len(message) > 0xffff:
		head = binary.BigEndian.AppendUint64([]byte{0x81, 127}, uint64(len(message)))
	case len(message) > 125:
		head = binary.BigEndian.AppendUint16([]byte{0x81, 126}, uint16(len(message)))
	}
	_, err := conn.Write(append(head, message...))
	return err
}
