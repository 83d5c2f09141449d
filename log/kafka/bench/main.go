// Bench measures `grete serve` beside Apache Kafka: the same client, the same
// settings, run after run in turn, medians; then how they compare, and what could
// be had at most: of the disk, and by a "floor", which takes what is sent, writes
// it to a file, answers, and does nothing else.
//
//	go run ./log/kafka/bench -grete ./grete -jars DIR
//
// Each run has a topic of its own. Six servers run all the time: each kind, with a
// sync before each acknowledgement and without. Beside what the client sees it
// takes the processor time of the server (utime and stime of /proc/PID/stat) and
// its memory (VmRSS after the run).
//
// Two kinds of load: "client" is franz-go with the defaults of Kafka's own Java
// client where they matter (batches of 16 KiB, 5 ms of linger, no compression);
// "frames" sends batches that were encoded once, and reads answers without
// looking at records: what it costs is mostly the server's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"time"
)

type plan struct {
	rounds  int
	seconds float64
	only    string
}

func main() {
	var (
		p     plan
		grete = flag.String("grete", "./grete", "the binary to measure")
		jars  = flag.String("jars", "", "directory with Kafka's jars; none: Grete alone")
		dir   = flag.String("dir", "", "where the servers keep their data; default: a temporary directory")
		addr  = flag.String("profile", "", "load one server that runs already, at HOST:PORT, and print what the client sees")
	)
	floorAddr := flag.String("floor", "", "serve at HOST:PORT what takes requests and does no more than it must")
	synced := flag.Bool("synced", false, "with -floor: sync before answering")
	flag.IntVar(&p.rounds, "rounds", 3, "how often everything is run")
	flag.Float64Var(&p.seconds, "seconds", 5, "how long a run takes, about")
	flag.StringVar(&p.only, "only", "", "run what has this in its name only")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case *floorAddr != "":
		err = serveFloor(ctx, *floorAddr, *dir, *synced)
	case *addr != "":
		err = p.profile(ctx, *addr, *dir)
	default:
		err = p.run(ctx, *grete, *jars, *dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run starts the servers and measures them in turn.
func (p *plan) run(ctx context.Context, grete, jars, dir string) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "bench-kafka"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	m, err := newMemory(dir)
	if err != nil {
		return err
	}
	servers, err := startAll(ctx, grete, jars, dir)
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.stop())
		}
	}()
	if err != nil {
		return err
	}
	results := map[string]map[string][]result{} // by workload and server
	disk := make(map[int][]float64)             // by bytes of a chunk
	for round := range p.rounds + 1 {
		for _, chunk := range diskChunks {
			rate, err := measureDisk(dir, chunk, time.Second)
			if err != nil {
				return fmt.Errorf("measure the disk: %w", err)
			}
			disk[chunk] = append(disk[chunk], rate)
		}
		for _, w := range workloads {
			if !strings.Contains(w.name, p.only) {
				continue
			}
			// Drawn anew for each row: the disk still works on what the run before has
			// left, and that would always hit the same server.
			for _, i := range rand.Perm(len(servers)) {
				s := servers[i]
				if s.isFloor && !w.floor {
					continue
				}
				seconds := p.seconds
				if round == 0 { // warms up, and is not counted
					seconds = min(2, p.seconds)
				}
				r, err := measure(ctx, s, w, m, time.Duration(seconds*float64(time.Second)))
				if err != nil {
					return fmt.Errorf("%s on %s: %w", w.name, s.name, err)
				}
				fmt.Fprintf(os.Stderr, "round %d  %-28s %-14s %s\n", round, w.name, s.name, r)
				if round == 0 {
					continue
				}
				if results[w.name] == nil {
					results[w.name] = map[string][]result{}
				}
				results[w.name][s.name] = append(results[w.name][s.name], r)
			}
		}
	}
	printTable(os.Stdout, servers, results)
	printRatios(os.Stdout, results)
	printDisk(os.Stdout, disk)
	return nil
}

// profile loads one server.
func (p *plan) profile(ctx context.Context, addr, dir string) error {
	if dir == "" {
		dir = os.TempDir()
	}
	m, err := newMemory(dir)
	if err != nil {
		return err
	}
	for _, w := range workloads {
		if strings.Contains(w.name, p.only) {
			r, err := measure(ctx, &server{name: addr, addr: addr}, w, m, time.Duration(p.seconds*float64(time.Second)))
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			fmt.Printf("%-22s %s\n", w.name, r)
		}
	}
	return nil
}
