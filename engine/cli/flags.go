package cli

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/gretestream/grete/log"
)

// flagValue is a flag whose mistakes are collected instead of ending the
// parsing at the first one.
type flagValue[T any] struct {
	app    *app
	name   string
	target *T
	parse  func(string) (T, error)
	format func(T) string
}

func (v *flagValue[T]) Set(s string) error {
	x, err := v.parse(s)
	if err != nil {
		v.app.mistake("--%s: %v", v.name, err)
		return nil
	}
	*v.target = x
	return nil
}

func (v *flagValue[T]) String() string {
	if v.target == nil {
		return ""
	}
	return v.format(*v.target)
}

// Type names the value in help texts where the usage string does not.
func (v *flagValue[T]) Type() string { return "value" }

// flagOf makes a flag that sets target.
func flagOf[T any](a *app, name string, target *T, parse func(string) (T, error), format func(T) string) pflag.Value {
	return &flagValue[T]{app: a, name: name, target: target, parse: parse, format: format}
}

// choice is a flag with a few values.
func (a *app) choice(name string, target *string, values ...string) pflag.Value {
	return flagOf(a, name, target, func(s string) (string, error) {
		if !slices.Contains(values, s) {
			return "", fmt.Errorf("got %q, want %s", s, strings.Join(values, ", "))
		}
		return s, nil
	}, func(s string) string { return s })
}

// boolVar adds a flag without a value.
func (a *app) boolVar(f *pflag.FlagSet, target *bool, name, usage string) {
	v := flagOf(a, name, target, func(s string) (bool, error) {
		b, err := strconv.ParseBool(s)
		if err != nil {
			return false, fmt.Errorf("got %q, want true or false", s)
		}
		return b, nil
	}, strconv.FormatBool)
	flag := f.VarPF(boolFlag{v}, name, "", usage)
	flag.NoOptDefVal = "true"
}

// boolFlag tells the flag parser that no value need follow.
type boolFlag struct{ pflag.Value }

func (boolFlag) IsBoolFlag() bool { return true }
func (boolFlag) Type() string     { return "bool" }

// intVar adds a flag for a number of at least lowest.
func (a *app) intVar(f *pflag.FlagSet, target *int, name string, lowest int, usage string) {
	f.Var(flagOf(a, name, target, func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < lowest {
			return 0, fmt.Errorf("got %q, want a number from %d on", s, lowest)
		}
		return n, nil
	}, func(n int) string {
		if n < lowest {
			return "0"
		}
		return strconv.Itoa(n)
	}), name, usage)
}

// durationVar adds a flag for a time span above 0.
func (a *app) durationVar(f *pflag.FlagSet, target *time.Duration, name, usage string) {
	a.durationFrom(1, f, target, name, usage)
}

// durationFrom is durationVar for at least so much.
func (a *app) durationFrom(least time.Duration, f *pflag.FlagSet, target *time.Duration, name, usage string) {
	f.Var(flagOf(a, name, target, func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err != nil || d < least {
			return 0, fmt.Errorf("got %q, want a time span such as 20s or 5m", s)
		}
		return d, nil
	}, func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return d.String()
	}), name, usage)
}

// pairsVar adds a flag NAME=VALUE that may be given more than once.
func (a *app) pairsVar(f *pflag.FlagSet, target *map[string]string, name, usage string) {
	f.Var(flagOf(a, name, target, func(s string) (map[string]string, error) {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("got %q, want NAME=VALUE", s)
		}
		m := *target
		if m == nil {
			m = map[string]string{}
		}
		if _, twice := m[k]; twice {
			return nil, fmt.Errorf("%s is given twice", k)
		}
		m[k] = v
		return m, nil
	}, func(map[string]string) string { return "" }), name, usage)
}

// listVar adds a flag that may be given more than once.
func (a *app) listVar(f *pflag.FlagSet, target *[]string, name, usage string) {
	f.Var(flagOf(a, name, target, func(s string) ([]string, error) {
		return append(*target, s), nil
	}, func([]string) string { return "" }), name, usage)
}

var byteUnits = []struct {
	suffix string
	size   float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1 << 40}, {"b", 1},
}

const leastMemory = 64 << 20 // bytes: less does not hold the Go runtime and one store

// parseBytes reads a memory size: a number of bytes, or one with a unit.
func parseBytes(s string) (int64, error) {
	text, factor := strings.ToLower(strings.TrimSpace(s)), 1.0
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			text, factor = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n*factor > math.MaxInt64/2 {
		return 0, fmt.Errorf("got %q, want a size such as 512MiB or 1GiB", s)
	}
	if n*factor < leastMemory {
		return 0, fmt.Errorf("got %s, want at least 64MiB", s)
	}
	return int64(n * factor), nil
}

// formatBytes writes a size with the largest binary unit that fits.
func formatBytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) + units[i]
}

// syncFlag is a log.SyncPolicy as it is written on the command line.
type syncFlag struct{ log.SyncPolicy }

func parseSync(s string) (syncFlag, error) {
	mode, every, _ := strings.Cut(s, "=")
	switch mode {
	case "group":
		if every == "" {
			return syncFlag{}, nil
		}
	case "none":
		if every == "" {
			return syncFlag{log.SyncPolicy{Mode: log.SyncNone}}, nil
		}
	case "interval":
		d, err := time.ParseDuration(every)
		if err == nil && d > 0 {
			return syncFlag{log.SyncPolicy{Mode: log.SyncInterval, Every: d}}, nil
		}
	}
	return syncFlag{}, fmt.Errorf("got %q, want group, interval=TIME (such as interval=1s) or none", s)
}

func (f syncFlag) String() string {
	switch f.Mode {
	case log.SyncInterval:
		return "interval=" + f.Every.String()
	case log.SyncNone:
		return "none"
	}
	return "group"
}
