package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gretestream/grete/jobs"
	op "github.com/gretestream/grete/operators"
)

func (a *app) describeCommand() *cobra.Command {
	var settings map[string]string
	form := "text"
	c := &cobra.Command{
		Use: "describe JOB", Short: "Show what a job does, as text or as a graph",
		Long: "Show the steps of a job by stage, its topics and its stores; or with --format dot\nthe graph in the language of Graphviz.\n\n" + a.jobList(),
		RunE: func(cmd *cobra.Command, args []string) error {
			job := a.jobArg(args)
			if err := a.checkUsage(); err != nil {
				return err
			}
			stored, err := a.storedSettings(cmd.Context(), job.Name)
			if err != nil {
				return err
			}
			build, values, err := buildOf(job, settings, stored)
			if err != nil {
				return err
			}
			g, err := op.Build(build)
			if err != nil {
				return fmt.Errorf("job %q: %w", job.Name, err)
			}
			if form == "dot" {
				_, err = fmt.Fprint(a.out, g.DOT())
				return err
			}
			fmt.Fprintf(a.out, "job %s\n", job.Name)
			if job.Doc != "" {
				fmt.Fprintf(a.out, "  %s\n", job.Doc)
			}
			for _, name := range slices.Sorted(maps.Keys(values)) {
				fmt.Fprintf(a.out, "  set %s=%s\n", name, values[name])
			}
			_, err = fmt.Fprintf(a.out, "\n%s", g.Describe())
			return err
		},
	}
	c.Flags().Var(a.choice("format", &form, "text", "dot"), "format", "`text` or dot")
	a.pairsVar(c.Flags(), &settings, "set", "a setting of the job, `NAME=VALUE`; may be repeated; default: as it ran last")
	return c
}

// buildOf returns the function that declares the job's graph, and the settings
// that it was made with.
func buildOf(job *jobs.Job, given, stored map[string]string) (func(*op.Graph), map[string]string, error) {
	values, err := job.Resolve(given, stored)
	if err != nil || job.Configure == nil {
		return job.Build, values, err
	}
	build, err := job.Configure(maps.Clone(values))
	if err != nil {
		return nil, nil, fmt.Errorf("job %q: configure: %w", job.Name, err)
	}
	return build, values, nil
}

// storedSettings are those of the job's last run in the data directory; none if
// there is no such directory.
func (a *app) storedSettings(ctx context.Context, job string) (settings map[string]string, err error) {
	if _, err := os.Stat(filepath.Join(a.common.data, "format")); a.common.log == "" && errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	d, err := a.openData(ctx)
	if err != nil {
		return nil, err
	}
	defer d.closing(&err)
	deployment, err := jobs.LoadDeployment(ctx, d, job)
	if err != nil || deployment == nil {
		return nil, err
	}
	return deployment.Plan.Settings, nil
}
