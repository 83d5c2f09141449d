package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// result is what one run came to.
type result struct {
	records  int64
	elapsed  time.Duration
	cpu      time.Duration // of the server
	rss      int64         // of the server, in bytes
	p50, p99 time.Duration // end to end, if that was measured
}

func (r result) perSecond() float64 { return float64(r.records) / r.elapsed.Seconds() }

// cpuPerRecord is in nanoseconds.
func (r result) cpuPerRecord() float64 { return float64(r.cpu.Nanoseconds()) / float64(r.records) }

func (r result) String() string {
	text := fmt.Sprintf("%9.0f records/s  %6.0f CPU-ns/record  %5d MiB", r.perSecond(), r.cpuPerRecord(), r.rss>>20)
	if r.p99 > 0 {
		text += fmt.Sprintf("  p50 %v  p99 %v", r.p50.Round(10*time.Microsecond), r.p99.Round(10*time.Microsecond))
	}
	return text
}

// median is the median of each number by itself.
func median(rs []result) result {
	if len(rs) == 0 {
		return result{}
	}
	m := rs[0]
	pick(rs, func(r result) float64 { return r.perSecond() }, func(r result) { m.records, m.elapsed = r.records, r.elapsed })
	cpu := 0.0
	pick(rs, result.cpuPerRecord, func(r result) { cpu = r.cpuPerRecord() })
	m.cpu = time.Duration(cpu * float64(m.records))
	pick(rs, func(r result) float64 { return float64(r.rss) }, func(r result) { m.rss = r.rss })
	pick(rs, func(r result) float64 { return float64(r.p50) }, func(r result) { m.p50 = r.p50 })
	pick(rs, func(r result) float64 { return float64(r.p99) }, func(r result) { m.p99 = r.p99 })
	return m
}

func pick(rs []result, by func(result) float64, take func(result)) {
	sorted := slices.Clone(rs)
	slices.SortFunc(sorted, func(a, b result) int { return cmp.Compare(by(a), by(b)) })
	take(sorted[len(sorted)/2])
}

// printTable prints the medians.
func printTable(w io.Writer, servers []*server, results map[string]map[string][]result) {
	fmt.Fprintf(w, "| load | server | records/s | server CPU-ns/record | RSS | p50 | p99 |\n|---|---|---:|---:|---:|---:|---:|\n")
	for _, load := range workloads {
		for _, s := range servers {
			rs := results[load.name][s.name]
			if len(rs) == 0 {
				continue
			}
			m := median(rs)
			p50, p99 := "", ""
			if m.p99 > 0 {
				p50, p99 = fmt.Sprintf("%.2f ms", float64(m.p50)/1e6), fmt.Sprintf("%.2f ms", float64(m.p99)/1e6)
			}
			fmt.Fprintf(w, "| %s | %s | %.0f | %.0f | %d MiB | %s | %s |\n", load.name, s.name, m.perSecond(), m.cpuPerRecord(), m.rss>>20, p50, p99)
		}
	}
}

// printRatios prints how Grete compares with Kafka, and the bars it is held to;
// then how the floor does, which says what can be had here.
func printRatios(w io.Writer, results map[string]map[string][]result) {
	fmt.Fprintf(w, "\n| by Kafka | synced by unsynced | both synced | both unsynced | CPU, synced | CPU, unsynced | p99, synced | p99, unsynced | RSS, synced | RSS, unsynced |\n|---|%s\n", strings.Repeat("---:|", 9))
	fmt.Fprintln(w, "| bar | >= 1 | >= 2 | >= 2 | <= 0.2, consume 0.5 | <= 0.2, consume 0.5 | <= 0.5 | <= 0.5 | <= 0.1 | <= 0.1 |")
	for _, kind := range []string{"Grete", "floor"} {
		printRatiosOf(w, kind, results)
	}
}

func printRatiosOf(w io.Writer, kind string, results map[string]map[string][]result) {
	for _, load := range workloads {
		r := results[load.name]
		if len(r[kind+", synced"]) == 0 || len(r["Kafka, synced"]) == 0 {
			continue
		}
		gs, gu, ks, ku := median(r[kind+", synced"]), median(r[kind+", unsynced"]), median(r["Kafka, synced"]), median(r["Kafka, unsynced"])
		fmt.Fprintf(w, "| %s: %s |", kind, load.name)
		for _, by := range []float64{
			gs.perSecond() / ku.perSecond(), gs.perSecond() / ks.perSecond(), gu.perSecond() / ku.perSecond(),
			gs.cpuPerRecord() / ks.cpuPerRecord(), gu.cpuPerRecord() / ku.cpuPerRecord(),
			float64(gs.p99) / float64(ks.p99), float64(gu.p99) / float64(ku.p99),
			float64(gs.rss) / float64(ks.rss), float64(gu.rss) / float64(ku.rss),
		} {
			if math.IsNaN(by) { // not measured
				fmt.Fprint(w, " |")
			} else {
				fmt.Fprintf(w, " %.2f |", by)
			}
		}
		fmt.Fprintln(w)
	}
}

// diskChunks are what requests in flight bring to a partition, roughly: of few
// connections, and of many.
var diskChunks = []int{128 << 10, 1 << 20}

// printDisk prints what the disk allows a server that syncs.
func printDisk(w io.Writer, rates map[int][]float64) {
	fmt.Fprintf(w, "\nThe disk by itself, %d files that grow, synced after each chunk:\n", diskFiles)
	for _, chunk := range diskChunks {
		rs := slices.Sorted(slices.Values(rates[chunk]))
		rate := rs[len(rs)/2]
		fmt.Fprintf(w, "- chunks of %d KiB: %.0f MB/s, or %.0f records/s of 100 B\n", chunk>>10, rate/1e6, rate/bytesPerRecord)
	}
}
