package logtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreeAddr finds an address of this machine for a server that a test stops and
// starts again. Its port is below those that outgoing connections get, so that
// none of the clients that try to reach the server takes it meanwhile.
func FreeAddr(t testing.TB) string {
	t.Helper()
	const lowest, below = 10_000, 32_768
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(below-lowest)))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String()
	}
	t.Fatalf("no free port from %d to %d", lowest, below-1)
	return ""
}
