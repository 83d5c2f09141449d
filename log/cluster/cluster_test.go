package cluster

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/goleak"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// brokers runs a cluster in this process until the test ends.
func brokers(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// connect opens a Log that the caller closes.
func connect(t *testing.T, c *kfake.Cluster) *Log {
	t.Helper()
	l, err := Open(t.Context(), Options{Seeds: c.ListenAddrs()})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestConform(t *testing.T) {
	conform(t)
}

// TestConformExplicitTransactions: as with clusters before KIP-890.
func TestConformExplicitTransactions(t *testing.T) {
	conform(t, kfake.MaxVersions(kversion.V3_7_0()))
}

func conform(t *testing.T, opts ...kfake.Opt) {
	logtest.Conform(t, logtest.Kind{
		Open:      func(t *testing.T) log.Log { return connect(t, brokers(t, opts...)) },
		AnyConfig: true,
	})
}
