package connect

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/gretestream/grete/log"
)

// TimeUnit says how the time of a record is written: as a number of units since
// 1970-01-01 UTC ("s", "ms", "us", "ns"; seconds may have a fraction), or as
// text by a Go layout ("2006-01-02 15:04:05") or a strftime format
// ("%Y-%m-%d %H:%M:%S"). Text without a zone is UTC.
//
// The empty TimeUnit decides by the value. Numbers: below 1e11 seconds, below
// 1e14 milliseconds, below 1e17 microseconds, else nanoseconds, which is right
// for times from 1973 to 5138. Text: RFC 3339, the same with a space or without
// a zone, and the times of access logs.
type TimeUnit string

var (
	errNoTime  = errors.New("no time")
	autoLayout = []string{
		time.RFC3339,
		"2006-01-02T15:04:05Z0700",
		"2006-01-02T15:04:05",
		"2006-01-02 15:04:05Z07:00",
		"2006-01-02 15:04:05Z0700",
		"2006-01-02 15:04:05",
		"2006-01-02",
		"02/Jan/2006:15:04:05 -0700",
	}
)

// timeParser reads times as one TimeUnit says. It is owned by one goroutine.
type timeParser struct {
	scale  int64  // ns per unit; 0: by layout
	layout string // empty: by the value
	last   int    // the auto layout that fitted last time
}

func newTimeParser(u TimeUnit) (timeParser, error) {
	switch u {
	case "":
		return timeParser{}, nil
	case "s":
		return timeParser{scale: 1e9}, nil
	case "ms":
		return timeParser{scale: 1e6}, nil
	case "us", "µs":
		return timeParser{scale: 1e3}, nil
	case "ns":
		return timeParser{scale: 1}, nil
	}
	layout := string(u)
	if strings.Contains(layout, "%") {
		var err error
		if layout, err = strftimeLayout(layout); err != nil {
			return timeParser{}, err
		}
	}
	if at := time.Date(2022, 11, 23, 21, 34, 56, 0, time.UTC); at.Format(layout) == layout {
		return timeParser{}, fmt.Errorf("time unit %q is not s, ms, us or ns, and as a layout it holds no part of a time, such as 2006 or %%Y", string(u))
	}
	return timeParser{layout: layout}, nil
}

// strftime maps the conversions of strftime to those of Go.
var strftime = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'b': "Jan", 'h': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday",
	'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'z': "-0700", 'Z': "MST", 'f': "000000", 'j': "002",
	'T': "15:04:05", 'D': "01/02/06", 'F': "2006-01-02", 'R': "15:04", '%': "%",
}

func strftimeLayout(format string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		if i == len(format) {
			return "", fmt.Errorf("time format %q ends in %%", format)
		}
		part, ok := strftime[format[i]]
		if !ok {
			return "", fmt.Errorf("time format %q: %%%c is not known", format, format[i])
		}
		b.WriteString(part)
	}
	return b.String(), nil
}

// parse reads the time in text.
func (p *timeParser) parse(text []byte) (log.Timestamp, error) {
	if len(text) == 0 {
		return 0, errNoTime
	}
	if p.layout == "" {
		if t, ok := p.number(text); ok {
			return t, nil
		}
	}
	switch {
	case p.scale != 0:
		return 0, fmt.Errorf("time %q is not a number in range", shown(text))
	case p.layout != "":
		t, err := time.Parse(p.layout, string(text))
		if err != nil {
			return 0, fmt.Errorf("time %q is not written as %q", shown(text), p.layout)
		}
		return log.TimestampOf(t), nil
	}
	for i := range autoLayout {
		k := (p.last + i) % len(autoLayout)
		if t, err := time.Parse(autoLayout[k], string(text)); err == nil {
			p.last = k
			return log.TimestampOf(t), nil
		}
	}
	return 0, fmt.Errorf("time %q is neither a number nor RFC 3339", shown(text))
}

// number reads a decimal number of units, rounded down to milliseconds.
func (p *timeParser) number(text []byte) (log.Timestamp, bool) {
	negative := text[0] == '-'
	i := 0
	if negative {
		i++
	}
	first := i
	var whole int64
	for ; i < len(text) && text[i]-'0' <= 9; i++ {
		if whole > (math.MaxInt64-9)/10 {
			return 0, false
		}
		whole = whole*10 + int64(text[i]-'0')
	}
	if i == first {
		return 0, false
	}
	// Billionths of a unit: digits behind the ninth are below any unit's ns.
	var fraction int64
	if i < len(text) && text[i] == '.' {
		i++
		for weight := int64(1e8); i < len(text) && text[i]-'0' <= 9; i++ {
			fraction += weight * int64(text[i]-'0')
			weight /= 10
		}
	}
	if i < len(text) {
		return 0, false
	}
	scale := p.scale
	if scale == 0 {
		scale = scaleOf(whole)
	}
	ms, ok := milliseconds(whole, fraction, scale, negative)
	return log.Timestamp(ms), ok
}

// scaleOf guesses the unit of a number, in ns.
func scaleOf(n int64) int64 {
	switch {
	case n < 1e11:
		return 1e9
	case n < 1e14:
		return 1e6
	case n < 1e17:
		return 1e3
	}
	return 1
}

// milliseconds turns whole units of scale ns, and billionths of one, into ms,
// rounded down. It fails if the result has no place in an int64.
func milliseconds(whole, billionths, scale int64, negative bool) (int64, bool) {
	const perMilli = 1_000_000 // ns
	var ms, rest int64         // rest: ns
	if scale >= perMilli {
		factor := scale / perMilli
		if whole > math.MaxInt64/factor-factor {
			return 0, false
		}
		ms, rest = whole*factor, billionths/(1e9/scale)
		ms, rest = ms+rest/perMilli, rest%perMilli
	} else {
		per := perMilli / scale
		ms, rest = whole/per, whole%per
	}
	if !negative {
		return ms, true
	}
	if rest > 0 {
		ms++
	}
	return -ms, true
}

// shown cuts a text that is quoted in an error or a reason to a bearable length.
func shown(text []byte) string {
	const most = 64 // bytes
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

// months of access logs, by their three letters.
var months = map[[3]byte]int64{
	{'J', 'a', 'n'}: 1, {'F', 'e', 'b'}: 2, {'M', 'a', 'r'}: 3, {'A', 'p', 'r'}: 4, {'M', 'a', 'y'}: 5, {'J', 'u', 'n'}: 6,
	{'J', 'u', 'l'}: 7, {'A', 'u', 'g'}: 8, {'S', 'e', 'p'}: 9, {'O', 'c', 't'}: 10, {'N', 'o', 'v'}: 11, {'D', 'e', 'c'}: 12,
}

// clfTime is the form of "17/May/2015:10:05:03 +0000", the time of access logs.
const clfTime = "dd/mmm/yyyy:hh:mm:ss +hhmm"

// clfClock reads times of access logs. Lines that follow each other share their
// minute as a rule, so the time up to the minute is remembered.
type clfClock struct {
	prefix [17]byte // "17/May/2015:10:05"
	zone   [5]byte  // "+0000"
	minute int64    // ms since 1970 UTC
}

// parse reads the time in b, in the form of clfTime.
func (c *clfClock) parse(b []byte) (log.Timestamp, bool) {
	if len(b) != len(clfTime) || b[17] != ':' || b[20] != ' ' {
		return 0, false
	}
	second, ok := twoDigits(b[18:], 60) // 60: a leap second
	if !ok {
		return 0, false
	}
	if [17]byte(b[:17]) != c.prefix || [5]byte(b[21:]) != c.zone {
		minute, ok := clfMinute(b)
		if !ok {
			return 0, false
		}
		c.prefix, c.zone, c.minute = [17]byte(b[:17]), [5]byte(b[21:]), minute
	}
	return log.Timestamp(c.minute + second*1000), true
}

func clfMinute(b []byte) (ms int64, ok bool) {
	day, ok1 := twoDigits(b, 31)
	month := months[[3]byte(b[3:6])]
	century, ok2 := twoDigits(b[7:], 99)
	year, ok3 := twoDigits(b[9:], 99)
	hour, ok4 := twoDigits(b[12:], 23)
	minute, ok5 := twoDigits(b[15:], 59)
	zoneHour, ok6 := twoDigits(b[22:], 23)
	zoneMinute, ok7 := twoDigits(b[24:], 59)
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6 && ok7) || month == 0 || day == 0 ||
		b[2] != '/' || b[6] != '/' || b[11] != ':' || b[14] != ':' || b[21] != '+' && b[21] != '-' {
		return 0, false
	}
	t := time.Date(int(century*100+year), time.Month(month), int(day), int(hour), int(minute), 0, 0, time.UTC)
	if int64(t.Day()) != day {
		return 0, false // 31 April
	}
	zone := (zoneHour*60 + zoneMinute) * 60_000
	if b[21] == '-' {
		zone = -zone
	}
	return t.UnixMilli() - zone, true
}

// twoDigits reads a number of two digits, of at most most.
func twoDigits(b []byte, most int64) (int64, bool) {
	tens, ones := b[0]-'0', b[1]-'0'
	n := int64(tens)*10 + int64(ones)
	return n, tens <= 9 && ones <= 9 && n <= most
}
