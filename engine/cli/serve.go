package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// defaultKafka is where serve answers Kafka clients unless told otherwise.
const defaultKafka = "127.0.0.1:9092"

func (a *app) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Serve the data directory to Kafka clients and over HTTP, without a job",
		Long: `Hold the data directory and serve it to Kafka clients (--kafka) and over HTTP
(--http) until interrupted. Other commands on the same directory talk to this
process.`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			a.wantArgs(args)
			if err := a.checkUsage(); err != nil {
				return err
			}
			if a.common.kafka == "" {
				a.common.kafka = defaultKafka
			}
			d, err := a.ownData(cmd.Context(), "one process at a time can serve it")
			if err != nil {
				return err
			}
			defer d.closing(&err)
			if err := d.serve("serve"); err != nil {
				return err
			}
			a.notef("Serving %s at kafka://%s and http://%s. Stop with Ctrl-C.", d.path, d.kafka.Addr(), d.server.Addr())
			<-cmd.Context().Done()
			return nil
		},
	}
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
