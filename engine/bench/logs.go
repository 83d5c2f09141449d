package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gretestream/grete/log"
)

// runAppend appends to a new log, synced.
func runAppend(ctx context.Context, t *task) (*Result, error) {
	name := fmt.Sprintf("append-%d", t.Run)
	defer os.RemoveAll(filepath.Join(t.Dir, name))
	l, err := t.openLog(name, log.SyncGroup)
	if err != nil {
		return nil, err
	}
	if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: recordsTopic, Partitions: partitions}); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	m, err := startMeter()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := appendRecords(ctx, l, t.Records); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	m.worked()
	return finish(ctx, m, t.Records, l)
}

// finish waits until the process is quiet and closes what is open, the last
// first: both belong to the price of the work.
func finish(ctx context.Context, m *meter, n int64, open ...io.Closer) (*Result, error) {
	err := awaitQuiet(ctx)
	for i := len(open) - 1; i >= 0; i-- {
		err = errors.Join(err, open[i].Close())
	}
	if err == nil {
		err = awaitQuiet(ctx)
	}
	if err != nil {
		return nil, err
	}
	return m.result(n)
}

// runRead reads the input of records once.
func runRead(ctx context.Context, t *task) (*Result, error) {
	l, err := t.openLog("records", log.SyncGroup)
	if err != nil {
		return nil, err
	}
	m, err := startMeter()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := readRecords(l, t.Records); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	m.worked()
	return finish(ctx, m, t.Records, l)
}

func readRecords(l log.Log, n int64) error {
	return eachPartition(func(p int64) error {
		tp := log.TopicPartition{Topic: recordsTopic, Partition: int32(p)}
		r, err := l.OpenReader(tp, 0, log.ReaderOptions{})
		if err != nil {
			return err
		}
		var records, bytes int64
		for {
			recs, err := r.Poll()
			if err != nil {
				return errors.Join(err, r.Close())
			}
			if len(recs) == 0 {
				break
			}
			records += int64(len(recs))
			for i := range recs {
				bytes += int64(len(recs[i].Value))
			}
		}
		if want := share(n, p); records != want || bytes != want*valueBytes {
			return errors.Join(fmt.Errorf("%v: %d records of %d bytes read, want %d of %d", tp, records, bytes, want, want*valueBytes), r.Close())
		}
		return r.Close()
	})
}
