package log

import (
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/cockroachdb/pebble/vfs"
	"github.com/hashicorp/go-hclog"
	"github.com/rcrowley/go-metrics"
)

// Options tune an embedded log. The zero value is useful.
type Options struct {
	// FS holds the directory. Default: the file system of the machine.
	FS FS

	// Sync says what an acknowledgement means. Default: SyncGroup.
	Sync SyncPolicy

	// SegmentBytes is where a partition begins its next segment file, in bytes.
	// A topic's segment.bytes takes precedence. Default: 128 MiB.
	SegmentBytes int64

	// JournalBytes is where the journal begins its next file, in bytes. About
	// twice as much is rewritten after a crash, and up to 64 times as much with
	// SyncNone. Default: 64 MiB.
	JournalBytes int64

	// DefaultPartitions is the partition count of topics that name none.
	// Default: 4.
	DefaultPartitions int

	// MaxCommitBytes bounds the batches of one Append or Commit, in bytes.
	// Default: 64 MiB.
	MaxCommitBytes int64

	// ReserveBytes of free space on the disk are left alone: appends fail with
	// ErrNoSpace before they are touched. At most a sixteenth of the disk is
	// reserved. Default: 32 MiB; negative: none.
	ReserveBytes int64

	// BallastBytes is the size of a file that only takes up space. It is given
	// up when the disk fills in spite of the reserve, so that what has been
	// acknowledged can be written. Default: 4 MiB; negative: none.
	BallastBytes int64

	// MaintainEvery is how often retention, compaction and scrubbing run. Default:
	// 15 s, as Kafka looks for what to compact.
	// Negative: never by themselves, and the journal is not emptied in the
	// background either, so that a test can say when (Maintain).
	MaintainEvery time.Duration

	// CompactBytes bounds what compaction rewrites in one round of
	// maintenance, in bytes. Default: 256 MiB.
	CompactBytes int64

	// ScrubBytes of sealed segments are read again in each round of maintenance,
	// to find damage early. Default: 32 MiB; negative: none.
	ScrubBytes int64

	// ProducerExpiry is how long a partition remembers an idempotent producer
	// that is silent. One that had a transaction is remembered seven times as
	// long. Default: 24 h.
	ProducerExpiry time.Duration

	// MaxProducers bounds how many producers are remembered, those of all
	// partitions together, at about 300 bytes each. Beyond it some are forgotten:
	// first those without transactions, the longest silent before others; never
	// one whose transaction is open, which may then be more. Default: 262,144.
	MaxProducers int

	// Logger hears about recovery, damage and background work. Default: none.
	Logger hclog.Logger

	// Metrics is where the log registers its counters (see metrics.go). Default:
	// a registry of its own.
	Metrics metrics.Registry

	// Now is the clock of append times and retention. Default: time.Now.
	Now func() time.Time
}

// EnsureDefaults fills in every field that is zero and returns o.
func (o *Options) EnsureDefaults() *Options {
	if o.FS == nil {
		o.FS = DefaultFS
	}
	setDefault(&o.SegmentBytes, 128<<20)
	setDefault(&o.JournalBytes, 64<<20)
	setDefault(&o.DefaultPartitions, 4)
	setDefault(&o.MaxCommitBytes, 64<<20)
	setDefault(&o.ReserveBytes, 32<<20)
	setDefault(&o.BallastBytes, 4<<20)
	setDefault(&o.MaintainEvery, 15*time.Second)
	setDefault(&o.CompactBytes, 256<<20)
	setDefault(&o.ScrubBytes, 32<<20)
	setDefault(&o.ProducerExpiry, 24*time.Hour)
	setDefault(&o.MaxProducers, 1<<18)
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Validate reports all mistakes at once, by field name. Defaults are in place.
func (o *Options) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(o.SegmentBytes >= 1<<10 && o.SegmentBytes <= math.MaxInt32, "options: SegmentBytes is %d, want 1 KiB to 2 GiB - 1", o.SegmentBytes)
	want(o.JournalBytes >= 1<<12, "options: JournalBytes is %d, want at least 4 KiB", o.JournalBytes)
	want(o.DefaultPartitions >= 1 && o.DefaultPartitions <= maxPartitions, "options: DefaultPartitions is %d, want 1 to %d", o.DefaultPartitions, maxPartitions)
	want(o.MaxCommitBytes >= 1<<10 && o.MaxCommitBytes <= 1<<30, "options: MaxCommitBytes is %d, want 1 KiB to 1 GiB", o.MaxCommitBytes)
	want(o.CompactBytes > 0, "options: CompactBytes is %d, want more than 0", o.CompactBytes)
	want(o.ProducerExpiry >= time.Millisecond && o.ProducerExpiry <= 10*365*24*time.Hour, "options: ProducerExpiry is %v, want 1 ms to 10 years", o.ProducerExpiry)
	want(o.MaxProducers > 0, "options: MaxProducers is %d, want more than 0", o.MaxProducers)
	want(o.Sync.Mode <= SyncNone, "options: Sync.Mode is %d, want SyncGroup, SyncInterval or SyncNone", o.Sync.Mode)
	if o.Sync.Mode == SyncInterval {
		want(o.Sync.Every > 0, "options: Sync.Every is %v, want more than 0 with SyncInterval", o.Sync.Every)
	} else {
		want(o.Sync.Every == 0, "options: Sync.Every is %v, want 0 without SyncInterval", o.Sync.Every)
	}
	return errors.Join(errs...)
}

func (m SyncMode) String() string {
	switch m {
	case SyncGroup:
		return "group"
	case SyncInterval:
		return "interval"
	case SyncNone:
		return "none"
	}
	return fmt.Sprintf("sync mode %d", uint8(m))
}

// String is "group", "interval(100ms)" or "none".
func (p SyncPolicy) String() string {
	if p.Mode == SyncInterval {
		return fmt.Sprintf("interval(%v)", p.Every)
	}
	return p.Mode.String()
}

// ParseSyncPolicy reads what String writes.
func ParseSyncPolicy(s string) (SyncPolicy, error) {
	switch s {
	case "group", "":
		return SyncPolicy{}, nil
	case "none":
		return SyncPolicy{Mode: SyncNone}, nil
	}
	if n := len(s); n > 10 && s[:9] == "interval(" && s[n-1] == ')' {
		if d, err := time.ParseDuration(s[9 : n-1]); err == nil && d > 0 {
			return SyncPolicy{Mode: SyncInterval, Every: d}, nil
		}
	}
	return SyncPolicy{}, fmt.Errorf("sync policy %q, want group, interval(100ms) or none", s)
}

// DefaultFS is the file system of the machine.
var DefaultFS FS = osFS{vfs.Default}

type osFS struct{ vfs.FS }

func (osFS) Truncate(name string, size int64) error { return os.Truncate(name, size) }
