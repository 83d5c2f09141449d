package cluster

import (
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
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

// TestConformAt holds a cluster that runs elsewhere against the contract: Apache
// Kafka, or grete serve. All of its topics and groups are deleted!
//
//	GRETE_TEST_CLUSTER=kafka://127.0.0.1:9092 go test -run TestConformAt ./log/cluster
func TestConformAt(t *testing.T) {
	url := os.Getenv("GRETE_TEST_CLUSTER")
	if url == "" {
		t.Skip("GRETE_TEST_CLUSTER is not set")
	}
	logtest.Conform(t, logtest.Kind{Open: func(t *testing.T) log.Log {
		opts, err := ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		l, err := Open(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		empty(t, l)
		return l
	}})
}

// empty deletes all topics and groups.
func empty(t *testing.T, l *Log) {
	t.Helper()
	topics, err := l.Topics(t.Context())
	for _, topic := range topics {
		if !topic.Internal && err == nil {
			err = l.DeleteTopic(t.Context(), topic.Name)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	groups, err := kmsg.NewPtrListGroupsRequest().RequestWith(t.Context(), l.admin)
	if err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrDeleteGroupsRequest()
	for _, g := range groups.Groups {
		req.Groups = append(req.Groups, g.Group)
	}
	if len(req.Groups) > 0 {
		if _, err := req.RequestWith(t.Context(), l.admin); err != nil {
			t.Fatal(err)
		}
	}
}
