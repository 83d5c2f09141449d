package cli

import (
	"fmt"
	"strings"
	"time"
)

const (
	drawEvery = 100 * time.Millisecond
	// rateOver is how long the past is that a rate is taken from.
	rateOver = 3 * time.Second
)

// progress draws one line on the standard error: what is done, how fast, and how
// long it will take. It draws nothing unless that is a terminal. Owned by one
// goroutine.
type progress struct {
	app   *app
	label string
	unit  string // of done and total, such as "records"; "B" is written with units
	drawn time.Time
	on    bool // a line is on the screen

	points []point // of the last rateOver
}

type point struct {
	at   time.Time
	done int64
}

func (a *app) progress(label, unit string) *progress {
	return &progress{app: a, label: label, unit: unit}
}

// update says how much is done; a total of 0 is unknown.
func (p *progress) update(done, total int64) {
	if p.app.terminal.err == 0 {
		return
	}
	now := p.app.now()
	if now.Sub(p.drawn) < drawEvery {
		return
	}
	p.drawn = now
	p.points = append(p.points, point{now, done})
	for len(p.points) > 2 && now.Sub(p.points[0].at) > rateOver {
		p.points = p.points[1:]
	}
	p.on = true
	fmt.Fprintf(p.app.err, "\r\x1b[K%s", shorten(p.line(done, total), p.app.terminal.err-1))
}

// end removes the line.
func (p *progress) end() {
	if p.on {
		fmt.Fprint(p.app.err, "\r\x1b[K")
		p.on = false
	}
}

func (p *progress) line(done, total int64) string {
	first, last := p.points[0], p.points[len(p.points)-1]
	rate := 0.0
	if d := last.at.Sub(first.at).Seconds(); d > 0 {
		rate = float64(last.done-first.done) / d
	}
	if total <= 0 {
		return fmt.Sprintf("%s  %s  %s/s", p.label, p.amount(done), p.amount(int64(rate)))
	}
	share := min(1, float64(done)/float64(total))
	const width = 24
	full := int(share * width)
	bar := strings.Repeat("█", full) + strings.Repeat("░", width-full)
	left := ""
	if rate > 0 && done < total {
		left = "  " + roughly(time.Duration(float64(total-done)/rate*float64(time.Second))) + " left"
	}
	return fmt.Sprintf("%s  %s %3.0f%%  %s of %s  %s/s%s", p.label, bar, share*100, p.amount(done), p.amount(total), p.amount(int64(rate)), left)
}

func (p *progress) amount(n int64) string {
	if p.unit == "B" {
		return formatBytes(n)
	}
	return groupDigits(n) + " " + p.unit
}

// groupDigits writes 1234567 as 1,234,567.
func groupDigits(n int64) string {
	s := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// roughly writes a time span with as much of it as anyone wants to know.
func roughly(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds())+1)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
