package cli

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// defaultKafka is where serve answers Kafka clients unless told otherwise.
const defaultKafka = "127.0.0.1:9092"

func (a *app) serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "Serve the data directory to Kafka clients and over HTTP, without a job",
		Long: `Hold the data directory and serve it to Kafka clients (--kafka) and over HTTP
(--http) until interrupted. Other commands on the same directory talk to this
process.

Without --auth clients are not asked who they are: only this machine can reach
the server, and what has no ACL is open to all. With it they are users (grete
user) or have certificates, and may do what ACLs (grete acl) allow; so it is
over HTTP, too.`,
		Example: `  grete user add alice
  grete acl add --allow User:alice --operation read --operation write --topic prefix:orders.
  grete serve --auth scram --kafka 0.0.0.0:9092 --tls-cert server.pem --tls-key server.key`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			a.wantArgs(args)
			if a.common.kafka == "" {
				a.common.kafka = defaultKafka
			}
			a.checkKafka(cmd)
			if err := a.checkUsage(); err != nil {
				return err
			}
			d, err := a.ownData(cmd.Context(), "one process at a time can serve it")
			if err != nil {
				return err
			}
			defer d.closing(&err)
			if err := d.serve("serve"); err != nil {
				return err
			}
			a.notef("Serving %s at kafka://%s and %s. Stop with Ctrl-C.", d.path, d.kafka.Addr(), d.url())
			<-cmd.Context().Done()
			return nil
		},
	}
	a.kafkaFlags(c.Flags())
	return c
}

// kafkaFlags are those of the commands that serve Kafka clients.
func (a *app) kafkaFlags(f *pflag.FlagSet) {
	a.securityFlags(f)
	a.nodeIDFlag(f)
	a.rebalanceDelay = defaultRebalanceDelay
	a.durationFrom(0, f, &a.rebalanceDelay, "rebalance-delay", "how `long` the first members of a group wait for more (Kafka waits 3s); 0s: not at all")
	a.boolVar(f, &a.noAutoCreate, "no-auto-create", "make no topic because a Kafka client has named it: topics are created first")
}

// defaultRebalanceDelay is too short to be felt, and long enough for clients that
// join a group before they know of its topics: without it, the leader of
// kafka-python assigns nothing, joins again, and may not see that it has.
const defaultRebalanceDelay = 250 * time.Millisecond

// kafkaOnly are the flags of them that say nothing where no Kafka client is
// served. Without clients, too, HTTP comes by TLS with --tls-cert and --tls-key.
var kafkaOnly = []string{"auth", "tls-client-ca", "super-user", "session", "node-id", "rebalance-delay", "no-auto-create"}

// checkKafka notes all that is wrong with kafkaFlags.
func (a *app) checkKafka(c *cobra.Command) {
	a.security.check(a)
	if a.common.kafka != "" || a.common.log != "" { // checkLog knows about --log
		return
	}
	for _, name := range kafkaOnly {
		if c.Flags().Changed(name) {
			a.mistake("--%s is about Kafka clients: want --kafka, the address to serve them at", name)
		}
	}
}

// nodeIDFlag is for those who have told their clients another broker id than 1.
func (a *app) nodeIDFlag(f *pflag.FlagSet) {
	a.nodeID = 1
	f.Var(flagOf(a, "node-id", &a.nodeID, func(s string) (int32, error) {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("got %q, want a number from 0 to %d", s, math.MaxInt32)
		}
		return int32(n), nil
	}, func(n int32) string { return strconv.Itoa(int(n)) }), "node-id", "`number` by which Kafka clients know this server")
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version",
		RunE: func(cmd *cobra.Command, args []string) error {
			a.wantArgs(args)
			if err := a.checkUsage(); err != nil {
				return err
			}
			version, revision := "devel", ""
			if info, ok := debug.ReadBuildInfo(); ok {
				if v := info.Main.Version; v != "" && v != "(devel)" {
					version = v
				}
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						revision = s.Value
					}
				}
			}
			r := &rows{columns: left("Version", "Revision", "Go", "Platform")}
			r.add(version, revision, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
			return a.print(r)
		},
	}
}
