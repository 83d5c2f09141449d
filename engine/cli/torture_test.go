package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gretestream/grete/log/logtest"
)

// TestTorture kills ingest and job with SIGKILL at random moments, round after
// round on one directory, and then asks whether the answer is that of a plain
// count: nothing lost, nothing counted twice, in state and in the output topic.
//
// GRETE_TORTURE_ROUNDS sets the number of rounds; `make torture` runs 50.
func TestTorture(t *testing.T) { tortureRounds(t, 5, nil) }

// TestTortureCluster is TestTorture on a log that is reached by Kafka's protocol:
// that of a server, which is killed as well, or of the cluster at
// GRETE_TEST_CLUSTER, which must be new. Two containers share the tasks.
func TestTortureCluster(t *testing.T) {
	if url := os.Getenv("GRETE_TEST_CLUSTER"); url != "" {
		tortureRounds(t, 3, nil, "--log", url)
		return
	}
	s := &server{t: t, grete: buildGrete(t), dir: filepath.Join(t.TempDir(), "server"), addr: logtest.FreeAddr(t)}
	s.start()
	defer s.kill()
	tortureRounds(t, 3, s, "--log", "kafka://"+s.addr)
}

// server is a grete serve that is killed and started again.
type server struct {
	t     *testing.T
	grete string
	dir   string
	addr  string
	cmd   *exec.Cmd
	out   bytes.Buffer
}

// start returns when the server answers: what is run next must find it.
func (s *server) start() {
	s.cmd = exec.Command(s.grete, "serve", "--data", s.dir, "--kafka", s.addr, "--http", "127.0.0.1:0")
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		s.t.Error(err)
		return
	}
	for deadline := time.Now().Add(time.Minute); ; <-time.After(5 * time.Millisecond) {
		if nc, err := net.Dial("tcp", s.addr); err == nil {
			_ = nc.Close()
			return
		} else if time.Now().After(deadline) {
			s.kill()
			s.t.Errorf("the server does not listen: %v\n%s", err, s.out.String())
			return
		}
	}
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	if strings.Contains(s.out.String(), "panic:") {
		s.t.Errorf("server: %s", s.out.String())
	}
}

// tortureRounds makes so many rounds unless told otherwise, and kills the server
// in each, if there is one. Every command gets the arguments in addition.
func tortureRounds(t *testing.T, rounds int, s *server, args ...string) {
	if s := os.Getenv("GRETE_TORTURE_ROUNDS"); s != "" {
		rounds, _ = strconv.Atoi(s)
	}
	if testing.Short() {
		rounds = 2
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("GRETE_TORTURE_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("GRETE_TORTURE_SEED=%d", seed)
	tt := &torture{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), grete: buildGrete(t),
		dir: filepath.Join(t.TempDir(), "data"), logs: t.TempDir(), counts: map[pageMinute]int64{}, args: args, server: s,
	}
	for round := 1; round <= rounds; round++ {
		file := tt.writeAccessLog(round)
		kills := tt.round(round, file)
		t.Logf("round %d/%d: %d kills", round, rounds, kills)
	}
	tt.mustRun("run", "pageviews", "--until-end")
	tt.checkStore()
	tt.checkFinals()
	if !t.Failed() {
		t.Logf("torture: %d rounds, %d kills, %d windows of pages: nothing lost, nothing twice", rounds, tt.kills.Load(), len(tt.counts))
	}
}

type pageMinute struct {
	start int64 // ms
	path  string
}

type torture struct {
	t      *testing.T
	rng    *rand.Rand
	grete  string // the binary
	dir    string // the data directory of all rounds
	logs   string
	counts map[pageMinute]int64 // the reference
	kills  atomic.Int64
	args   []string // of every command
	server *server  // nil: none
}

// buildGrete builds the root binary once per test.
func buildGrete(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "grete")
	cmd := exec.Command("go", "build", "-o", bin, "github.com/gretestream/grete")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build grete: %v\n%s", err, out)
	}
	return bin
}

// writeAccessLog writes some minutes of requests, out of order by seconds, with
// the round's time range following that of the round before, and counts them.
func (tt *torture) writeAccessLog(round int) string {
	name := filepath.Join(tt.logs, fmt.Sprintf("access-%d.log", round))
	var b bytes.Buffer
	base := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(round) * 10 * time.Minute)
	lines := 20_000 + tt.rng.IntN(20_000)
	for i := range lines {
		at := base.Add(time.Duration(i) * 10 * time.Minute / time.Duration(lines)).Add(-time.Duration(tt.rng.IntN(20)) * time.Second)
		path := fmt.Sprintf("/page/%d", tt.rng.IntN(40)*tt.rng.IntN(10))
		fmt.Fprintf(&b, "10.0.%d.%d - - [%s] \"GET %s?q=%d HTTP/1.1\" 200 %d \"-\" \"Mozilla/5.0\"\n",
			tt.rng.IntN(9), tt.rng.IntN(200), at.Format("02/Jan/2006:15:04:05 -0700"), path, i, i)
		tt.counts[pageMinute{at.Truncate(time.Minute).UnixMilli(), path}]++
	}
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		tt.t.Fatal(err)
	}
	return name
}

// round brings one file into the log and lets the job run over it, with kills.
// It returns how many processes it killed.
func (tt *torture) round(round int, file string) int64 {
	before := tt.kills.Load()
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		if tt.server != nil {
			<-time.After(serverMoment)
			tt.server.kill()
			tt.server.start()
			tt.kills.Add(1)
		}
	}()
	for !tt.ingested(file) {
	}
	<-killed
	// A job that reads while nothing else runs, killed at a random moment.
	tt.kill("run", "pageviews", "--until-end")
	if round%3 == 0 {
		tt.mustRun("run", "pageviews", "--until-end")
	}
	return tt.kills.Load() - before
}

// serverMoment is when in a round the server is killed: amid the first ingest or
// the job beside it.
const serverMoment = 400 * time.Millisecond

// ingested starts an ingest, kills it perhaps, and tells whether the file is in
// the log whole.
func (tt *torture) ingested(file string) bool {
	args := []string{"ingest", file, "--topic", "page-views"}
	if tt.rng.IntN(2) == 0 {
		// Through the process that runs the job, which is killed meanwhile.
		return tt.ingestWhileRunning(args)
	}
	out, err := tt.start(tt.moment(), args...)
	return err == nil || strings.Contains(out, "--again")
}

func (tt *torture) ingestWhileRunning(args []string) bool {
	var running sync.WaitGroup
	containers := []string{tt.dir}
	if len(tt.args) > 0 {
		containers = append(containers, tt.dir+"-2") // one that shares the tasks
	}
	for _, dir := range containers {
		moment := tt.moment() + 300*time.Millisecond
		running.Go(func() { tt.startIn(dir, moment, "run", "pageviews") })
	}
	out, err := tt.start(0, args...)
	running.Wait()
	return err == nil || strings.Contains(out, "--again")
}

// moment is when to kill: early moments are likelier, so that start-up and
// recovery are hit as well.
func (tt *torture) moment() time.Duration {
	ms := tt.rng.IntN(600)
	return time.Duration(10+ms*ms/600) * time.Millisecond
}

func (tt *torture) kill(args ...string) { tt.start(tt.moment(), args...) }

// start runs the binary and kills it after d, if d is not 0.
func (tt *torture) start(d time.Duration, args ...string) (string, error) {
	return tt.startIn(tt.dir, d, args...)
}

// startIn is start on another data directory.
func (tt *torture) startIn(dir string, d time.Duration, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tt.grete, slices.Concat(args, []string{"--data", dir, "--http", "127.0.0.1:0"}, tt.args)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	if d > 0 {
		timer := time.AfterFunc(d, func() { cmd.Process.Kill() })
		defer timer.Stop()
	}
	err := cmd.Wait()
	if err != nil && strings.Contains(err.Error(), "killed") {
		tt.kills.Add(1)
	}
	for _, bad := range []string{"panic:", "goroutine ", "corrupt"} {
		if strings.Contains(out.String(), bad) {
			tt.t.Fatalf("grete %s:\n%s", strings.Join(args, " "), out.String())
		}
	}
	return out.String(), err
}

func (tt *torture) mustRun(args ...string) string {
	tt.t.Helper()
	out, err := tt.start(0, args...)
	if err != nil {
		tt.t.Fatalf("grete %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// checkStore holds the store against the reference, row for row.
func (tt *torture) checkStore() {
	keys := make([]pageMinute, 0, len(tt.counts))
	for k := range tt.counts {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		a, b := keys[i], keys[j]
		return a.start < b.start || a.start == b.start && a.path < b.path
	})
	var want strings.Builder
	want.WriteString("window_start_ms,window_start,key,value\n")
	for _, k := range keys {
		fmt.Fprintf(&want, "%d,%s,%s,%d\n", k.start, time.UnixMilli(k.start).UTC().Format(time.RFC3339), k.path, tt.counts[k])
	}
	got := tt.mustRun("query", "pageviews", "--store", "views-per-page", "--output", "csv")
	if got != want.String() {
		tt.t.Errorf("store differs from the reference: %s", firstDifference(got, want.String()))
	}
}

// checkFinals reads the output topic: the last final of a page and minute is the
// count; an earlier one was corrected, so it is smaller; none is there twice.
func (tt *torture) checkFinals() {
	out := tt.mustRun("consume", "page-view-counts", "--output", "json")
	last := map[string]int64{}
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r struct {
			Key   json.RawMessage
			Value int64
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			tt.t.Fatalf("consume printed %q: %v", lines.Text(), err)
		}
		if r.Value <= last[string(r.Key)] {
			tt.t.Errorf("final %s: %d after %d", r.Key, r.Value, last[string(r.Key)])
		}
		last[string(r.Key)] = r.Value
	}
	var sum, want int64
	for _, n := range last {
		sum += n
	}
	for _, n := range tt.counts {
		want += n
	}
	if len(last) != len(tt.counts) || sum != want {
		tt.t.Errorf("output topic: %d windows of pages with %d requests, want %d with %d", len(last), sum, len(tt.counts), want)
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d: got %q, want %q (%d and %d lines)", i+1, g[i], w[i], len(g), len(w))
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}
