package cli

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"strconv"

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
			a.security.check(a)
			if a.common.kafka == "" {
				a.common.kafka = defaultKafka
			}
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
			scheme := "http"
			if a.security.tls != nil {
				scheme = "https"
			}
			a.notef("Serving %s at kafka://%s and %s://%s. Stop with Ctrl-C.", d.path, d.kafka.Addr(), scheme, d.server.Addr())
			<-cmd.Context().Done()
			return nil
		},
	}
	a.securityFlags(c.Flags())
	a.nodeIDFlag(c.Flags())
	a.durationVar(c.Flags(), &a.rebalanceDelay, "rebalance-delay", "how `long` the first members of a group wait for more, as with Kafka's 3s; default: not at all")
	c.Flags().BoolVar(&a.noAutoCreate, "no-auto-create", false, "make no topic because a Kafka client has named it: topics are created first")
	return c
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
