package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// server is a broker that runs in a process of its own.
type server struct {
	name string
	addr string
	cmd  *exec.Cmd
	done chan error

	isFloor bool
}

// startAll starts all kinds of server, with syncs and without.
func startAll(ctx context.Context, grete, jars, dir string) (all []*server, err error) {
	for _, synced := range []bool{true, false} {
		s, err := startGrete(ctx, grete, dir, synced)
		if err != nil {
			return all, err
		}
		all = append(all, s)
		if jars != "" {
			if s, err = startKafka(ctx, jars, dir, synced); err != nil {
				return all, err
			}
			all = append(all, s)
		}
		if s, err = startFloor(ctx, dir, synced); err != nil {
			return all, err
		}
		all = append(all, s)
	}
	for _, s := range all {
		if err := s.ready(ctx); err != nil {
			return all, err
		}
	}
	return all, nil
}

func startFloor(ctx context.Context, dir string, synced bool) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	name, args := "floor, unsynced", []string{"-floor", addr, "-dir", dir}
	if synced {
		name, args = "floor, synced", append(args, "-synced")
	}
	s, err := start(ctx, name, addr, filepath.Join(dir, name+".log"), binary, args...)
	if err == nil {
		s.isFloor = true
	}
	return s, err
}

func startGrete(ctx context.Context, binary, dir string, synced bool) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	name, mode := "Grete, synced", "group"
	if !synced {
		name, mode = "Grete, unsynced", "none"
	}
	data := filepath.Join(dir, "grete-"+mode)
	return start(ctx, name, addr, data+".log", binary, "serve", "--data", data, "--kafka", addr, "--http", "127.0.0.1:0", "--sync", mode)
}

// kafkaJVM is what Kafka's own start script says.
var kafkaJVM = strings.Fields("-Xmx1G -Xms1G -server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 " +
	"-XX:+ExplicitGCInvokesConcurrent -XX:MaxInlineLevel=15 -Djava.awt.headless=true -Dorg.slf4j.simpleLogger.defaultLogLevel=warn")

func startKafka(ctx context.Context, jars, dir string, synced bool) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	controller, err := freeAddr()
	if err != nil {
		return nil, err
	}
	name, flush := "Kafka, synced", "log.flush.interval.messages=1\n"
	if !synced {
		name, flush = "Kafka, unsynced", ""
	}
	data := filepath.Join(dir, strings.NewReplacer(", ", "-").Replace(name))
	props := data + ".properties"
	text := "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n" +
		"listeners=PLAINTEXT://" + addr + ",CONTROLLER://" + controller + "\ncontroller.quorum.bootstrap.servers=" + controller + "\n" +
		"log.dirs=" + data + "\noffsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n" +
		"transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=1\n" + flush
	if err := os.WriteFile(props, []byte(text), 0o644); err != nil {
		return nil, err
	}
	classes := filepath.Join(jars, "*")
	format := exec.CommandContext(ctx, "java", "-cp", classes, "kafka.tools.StorageTool", "format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", props)
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format Kafka's storage: %w: %s", err, out)
	}
	args := append(append([]string{}, kafkaJVM...), "-cp", classes, "kafka.Kafka", props)
	return start(ctx, name, addr, data+".log", "java", args...)
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func start(ctx context.Context, name, addr, output, binary string, args ...string) (*server, error) {
	f, err := os.Create(output)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &server{name: name, addr: addr, cmd: exec.CommandContext(ctx, binary, args...), done: make(chan error, 1)}
	s.cmd.Stdout, s.cmd.Stderr = f, f
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	return s, nil
}

// ready waits until the server answers.
func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		if err = s.ping(ctx, cl); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", s.name, err)
		case err := <-s.done:
			return fmt.Errorf("%s has ended: %w", s.name, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (s *server) ping(ctx context.Context, cl *kgo.Client) error {
	if !s.isFloor {
		return cl.Ping(ctx)
	}
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return err
	}
	return nc.Close()
}

// stop ends the server.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return nil // it has ended
	}
	select {
	case <-s.done:
		return nil
	case <-time.After(30 * time.Second):
		return errors.Join(fmt.Errorf("%s did not stop", s.name), s.cmd.Process.Kill())
	}
}

// cpu is the processor time that the server has used: fields 14 and 15 of its
// stat, in ticks of 10 ms.
func (s *server) cpu() time.Duration {
	if s.cmd == nil {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// rss is the memory that the server has now, in bytes.
func (s *server) rss() int64 {
	if s.cmd == nil {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}
