package cli

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rcrowley/go-metrics"
	"github.com/spf13/cobra"

	"github.com/gretestream/grete/engine/query"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
	"github.com/gretestream/grete/log/remote"
)

const (
	runningFile = "running.json"

	// lockWait is how long a command waits for a directory that another one
	// holds without answering: most hold it for a moment only.
	lockWait = 10 * time.Second
	lockPoll = 25 * time.Millisecond

	drainTimeout = 5 * time.Second // for Kafka requests under way when the process stops
)

// running is the content of running.json: how to reach the process that holds a
// data directory. It is readable by the owner alone, since it holds the token.
type running struct {
	Version   int       `json:"version"`
	PID       int       `json:"pid"`
	Command   string    `json:"command"` // such as "run pageviews"
	Jobs      []string  `json:"jobs,omitempty"`
	Addresses []string  `json:"addresses"`           // host:port of the HTTP server
	Kafka     string    `json:"kafka,omitempty"`     // host:port of the Kafka listener
	KafkaCert string    `json:"kafkaCert,omitempty"` // file of its certificate; empty: no TLS
	Token     string    `json:"token"`
	Started   time.Time `json:"started"`
}

const runningVersion = 1

// readRunning reads running.json; the error is os.ErrNotExist if there is none.
func readRunning(dir string) (*running, error) {
	return readRunningFile(filepath.Join(dir, runningFile))
}

func readRunningFile(name string) (*running, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := new(running)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if r.Version != runningVersion || len(r.Addresses) == 0 {
		return nil, fmt.Errorf("read %s: version %d with %d addresses, want version %d", name, r.Version, len(r.Addresses), runningVersion)
	}
	return r, nil
}

// write replaces the file, running.json or another, in one step.
func (r *running) write(dir, name string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, runningFile+".*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if errClose := f.Close(); err == nil {
		err = errClose
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// dataDir is an open data directory: held by this process, or reached through
// the one that holds it.
type dataDir struct {
	log.Log
	app     *app
	path    string
	holder  *running         // nil: this process holds it
	metrics metrics.Registry // of what runs in this process
	server  *query.Server    // nil: not served
	kafka   *kafka.Server    // nil: not served
	token   string

	elsewhere bool   // the log is kept by a Kafka cluster; state is local
	announced string // the file that tells where this process serves; empty: none
}

// held tells whether another process holds the directory.
func (d *dataDir) held() bool { return d.holder != nil }

// openData opens the data directory of the command line, or finds the process
// that has it open.
func (a *app) openData(ctx context.Context) (*dataDir, error) {
	if a.common.log != "" {
		return a.openCluster(ctx, a.cluster)
	}
	path := a.common.data
	deadline := a.now().Add(lockWait)
	for {
		d, err := a.holdData(path)
		if !errors.Is(err, log.ErrLocked) {
			return d, err
		}
		r, errRead := readRunning(path)
		if errRead == nil {
			var l log.Log
			if l, errRead = remote.Dial(r.Addresses[0], r.Token); errRead == nil {
				return &dataDir{Log: l, app: a, path: path, holder: r}, nil
			}
		}
		if a.now().After(deadline) {
			return nil, fmt.Errorf("%w: it does not answer (%v): wait until it has ended, or end it", err, errRead)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// holdData opens the data directory in this process.
func (a *app) holdData(path string) (*dataDir, error) {
	registry := metrics.NewRegistry()
	l, err := log.Open(path, log.Options{Sync: a.common.sync.SyncPolicy, Logger: a.logger, Metrics: registry})
	if err != nil {
		return nil, err
	}
	// What a process left that was killed says nothing any more.
	if err := os.Remove(filepath.Join(path, runningFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		l.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &dataDir{Log: l, app: a, path: path, metrics: registry}, nil
}

// withData runs f on the data directory, if nothing is wrong with the usage.
func (a *app) withData(cmd *cobra.Command, f func(ctx context.Context, d *dataDir) error) (err error) {
	if err := a.checkUsage(); err != nil {
		return err
	}
	d, err := a.openData(cmd.Context())
	if err != nil {
		return err
	}
	defer d.closing(&err)
	return f(cmd.Context(), d)
}

// ownData opens the directory for a command that has to hold it itself.
func (a *app) ownData(ctx context.Context, advice string) (*dataDir, error) {
	d, err := a.openData(ctx)
	if err != nil {
		return nil, err
	}
	if d.held() {
		defer d.Close()
		return nil, fmt.Errorf("data directory %s is held by \"grete %s\" (pid %d): %s", d.path, d.holder.Command, d.holder.PID, advice)
	}
	return d, nil
}

// serve answers over HTTP from now on, and says so in running.json.
func (d *dataDir) serve(command string, jobs ...string) error {
	a := d.app
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return fmt.Errorf("make a token: %w", err)
	}
	a.security.watch(a.logger, d.metrics)
	d.token = base64.RawURLEncoding.EncodeToString(secret[:])
	opts := query.Options{
		Addr: a.common.http, Insecure: a.common.insecure, TLS: a.security.httpTLS(), Authorize: d.authorizer(),
		Log: d.Log, Token: d.token, Metrics: d.metrics, Logger: a.logger,
	}
	if opts.Addr == "" {
		opts.Addr, opts.Fallback = defaultHTTP, "127.0.0.1:0"
	}
	// A mistake of the user's is told before anything is bound.
	if err := opts.Validate(); err != nil {
		return err
	}
	if err := d.serveKafka(); err != nil {
		return err
	}
	server, err := query.Listen(opts)
	if err != nil {
		return err
	}
	d.server = server
	r := &running{
		Version: runningVersion, PID: os.Getpid(), Command: command, Jobs: jobs,
		Addresses: []string{server.Local()}, Token: d.token, Started: a.now().UTC(),
	}
	if d.kafka != nil {
		r.Kafka = d.kafka.Local()
		if a.security.certificate != nil {
			if r.KafkaCert, err = filepath.Abs(a.security.cert); err != nil {
				return err
			}
		}
	}
	d.announced = runningFile
	if d.elsewhere {
		d.announced = containerPrefix + hex.EncodeToString(secret[:4]) + containerSuffix
		if err := os.MkdirAll(d.path, 0o755); err != nil {
			return err
		}
	}
	return r.write(d.path, d.announced)
}

// url is where HTTP is served.
func (d *dataDir) url() string {
	if d.app.security.certificate != nil {
		return "https://" + d.server.Addr()
	}
	return "http://" + d.server.Addr()
}

// wantNoKafka is an error if --kafka is given though another process holds the
// directory: no client would be served, and none asked who it is.
func (d *dataDir) wantNoKafka() error {
	if d.app.common.kafka == "" {
		return nil
	}
	return fmt.Errorf("--kafka: data directory %s is held by \"grete %s\" (pid %d), and only that process can serve it: leave --kafka out", d.path, d.holder.Command, d.holder.PID)
}

// kafkaLog is the log that Kafka clients are served; nil if none are, for the
// command line does not say where.
func (d *dataDir) kafkaLog() *log.Embedded {
	l, _ := d.Log.(*log.Embedded)
	if d.app.common.kafka == "" {
		return nil
	}
	return l
}

// serveKafka answers Kafka clients, if any are served.
func (d *dataDir) serveKafka() (err error) {
	l := d.kafkaLog()
	if l == nil {
		return nil
	}
	d.kafka, err = kafka.Listen(kafka.Options{
		Log: l, Addr: d.app.common.kafka, Insecure: d.app.common.insecure,
		TLS: d.app.security.kafkaTLS(), SASL: d.app.security.mechanisms(), SuperUsers: d.app.security.superUsers(), MaxSession: d.app.security.session,
		NodeID: d.app.nodeID, NoAutoCreate: d.app.noAutoCreate, RebalanceDelay: d.app.rebalanceDelay, Logger: d.app.logger, Metrics: d.metrics,
	})
	return err
}

// defaultHTTP is where HTTP is served unless told otherwise or taken.
const defaultHTTP = "127.0.0.1:8090"

// Close stops serving and closes the log.
func (d *dataDir) Close() error {
	var errs []error
	if d.server != nil {
		// First the file, while the directory is still held: whoever comes after
		// this process writes its own.
		if d.announced != "" {
			if err := os.Remove(filepath.Join(d.path, d.announced)); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		errs = append(errs, d.stopKafka(), d.server.Close())
		d.server = nil
	} else {
		errs = append(errs, d.stopKafka()) // HTTP could not be served
	}
	errs = append(errs, d.Log.Close())
	return errors.Join(errs...)
}

// stopKafka lets Kafka clients have the answers that they wait for.
func (d *dataDir) stopKafka() error {
	if d.kafka == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	return d.kafka.Shutdown(ctx)
}

// closing closes d and keeps the first error of a command.
func (d *dataDir) closing(err *error) {
	if errClose := d.Close(); *err == nil {
		*err = errClose
	}
}

// statePath is where the state of jobs lies.
func (d *dataDir) statePath() string { return filepath.Join(d.path, "state") }

// ensureTopic makes a topic if there is none. An existing one must have the
// wanted number of partitions, if one is wanted.
func ensureTopic(ctx context.Context, l log.Log, name string, partitions int) (log.Topic, error) {
	t, err := l.Topic(ctx, name)
	if errors.Is(err, log.ErrUnknownTopic) {
		t, err = l.CreateTopic(ctx, log.TopicSpec{Name: name, Partitions: partitions})
		if errors.Is(err, log.ErrTopicExists) { // by another process, meanwhile
			t, err = l.Topic(ctx, name)
		}
	}
	if err != nil {
		return t, err
	}
	if partitions > 0 && t.Partitions != partitions {
		return t, fmt.Errorf("topic %q has %d partitions, want %d (--partitions): leave --partitions out, or use another topic", name, t.Partitions, partitions)
	}
	return t, nil
}
