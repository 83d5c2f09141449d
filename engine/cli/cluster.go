package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/rcrowley/go-metrics"
	"github.com/spf13/cobra"

	"github.com/gretestream/grete/log/cluster"
)

// ownLogOnly are the commands that are about the log in the data directory.
var ownLogOnly = []string{"serve", "fsck", "demo", "bench"}

// checkLog notes what is wrong with --log, and with what stands beside it.
func (a *app) checkLog(cmd *cobra.Command) {
	if a.common.log == "" {
		return
	}
	opts, err := cluster.ParseURL(a.common.log)
	if err != nil {
		a.mistake("--log: %v", err)
		return
	}
	a.cluster = opts
	if slices.Contains(ownLogOnly, cmd.Name()) {
		a.mistake("--log: %s is about the log in --data: leave --log out", cmd.Name())
	}
	for _, name := range append([]string{"kafka", "sync"}, kafkaOnly...) {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			a.mistake("--%s is about the log in --data: leave it out with --log", name)
		}
	}
}

// openCluster reaches a log that is kept by a Kafka cluster. The data directory
// holds the state of jobs, and nobody holds it: the state of each task is locked
// by who works on it.
func (a *app) openCluster(ctx context.Context, opts cluster.Options) (*dataDir, error) {
	d := &dataDir{app: a, path: a.common.data, metrics: metrics.NewRegistry(), elsewhere: true}
	opts.Logger, opts.Metrics = a.logger, d.metrics
	l, err := cluster.Open(ctx, opts)
	if err != nil {
		return nil, err
	}
	d.Log = l
	return d, nil
}

// joinServer reaches the log of the data directory through the Kafka listener of
// the process that holds it, so that a job can run here. The user, if the listener
// wants one, is that of the environment, as with --log.
func (a *app) joinServer(ctx context.Context, holder *running) (*dataDir, error) {
	opts, err := cluster.ParseURL(cluster.Scheme + holder.Kafka)
	if err != nil {
		return nil, err
	}
	if holder.KafkaCert != "" {
		if opts.TLS, err = trustOnly(holder.KafkaCert); err != nil {
			return nil, err
		}
	}
	d, err := a.openCluster(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("join \"grete %s\" (pid %d); if its clients must say who they are, set %s and %s, or use --log: %w",
			holder.Command, holder.PID, cluster.EnvUser, cluster.EnvPassword, err)
	}
	return d, nil
}

// Beside running.json, which is the holder's, every process that runs a job on a
// log kept elsewhere has a file of its own in the directory.
const (
	containerPrefix = "running-"
	containerSuffix = ".json"
)

// runners are the processes that run a job on a log kept elsewhere, with their
// state in this directory. Files of processes that are no more are removed.
func (d *dataDir) runners(job string) ([]*running, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var list []*running
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, containerPrefix) || !strings.HasSuffix(name, containerSuffix) {
			continue
		}
		r, err := readRunningFile(filepath.Join(d.path, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		if errors.Is(syscall.Kill(r.PID, 0), syscall.ESRCH) {
			_ = os.Remove(filepath.Join(d.path, name)) // killed; the next one to look will try again
			continue
		}
		if r.runs(job) {
			list = append(list, r)
		}
	}
	return list, nil
}

// runner is the process that answers for a job, or nil.
func (d *dataDir) runner(job string) (*running, error) {
	if d.held() && d.holder.runs(job) {
		return d.holder, nil
	}
	list, err := d.runners(job)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	if len(list) > 1 {
		var at []string
		for _, r := range list {
			at = append(at, fmt.Sprintf("http://%s (pid %d)", r.Addresses[0], r.PID))
		}
		return nil, fmt.Errorf("job %q runs in %d processes, each of which answers for its own partitions: ask %s", job, len(list), strings.Join(at, " and "))
	}
	return list[0], nil
}
