package log

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
)

// The leader epoch rises whenever the log is opened after a crash, so that
// clients of the Kafka protocol notice when records that a lazy sync policy had
// acknowledged are gone. Each partition keeps where its epochs begin, in Kafka's
// file leader-epoch-checkpoint:
//
//	0            version
//	2            number of lines that follow
//	0 0          epoch, first offset
//	3 1742
//
// The file is derived (batches carry their epoch) and not synced.
const leaderEpochName = "leader-epoch-checkpoint"

type epochStart struct {
	epoch int32
	start Offset
}

// leaderEpochs are the epochs of one partition, in order.
type leaderEpochs struct {
	mu   sync.Mutex // guards list
	list []epochStart
}

// encode is the content of the file.
func (e *leaderEpochs) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "0\n%d\n", len(e.list))
	for _, s := range e.list {
		fmt.Fprintf(&b, "%d %d\n", s.epoch, s.start)
	}
	return b.Bytes()
}

// decodeEpochs reads the file. One that makes no sense is as good as none.
func decodeEpochs(data []byte) []epochStart {
	r := bytes.NewReader(data)
	var version, n int
	if _, err := fmt.Fscan(r, &version, &n); err != nil || version != 0 || n < 0 {
		return nil
	}
	var list []epochStart
	for range n {
		var s epochStart
		if _, err := fmt.Fscan(r, &s.epoch, &s.start); err != nil {
			return nil
		}
		if k := len(list); k > 0 && (s.epoch <= list[k-1].epoch || s.start < list[k-1].start) {
			return nil
		}
		list = append(list, s)
	}
	return list
}

// loadEpochs reads a partition's epochs, less those that begin beyond its end.
func (p *partition) loadEpochs(fs FS, end Offset) {
	data, err := readFile(fs, fs.PathJoin(p.dir, leaderEpochName))
	if err != nil {
		return
	}
	p.epochs.list = slices.DeleteFunc(decodeEpochs(data), func(s epochStart) bool { return s.start > end })
}

// enterEpoch takes down that the batches from base on are of an epoch. The
// applier calls it; only the first write of an epoch costs anything.
func (p *partition) enterEpoch(fs FS, epoch int32, base Offset) error {
	e := &p.epochs
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.list); n > 0 && e.list[n-1].epoch >= epoch {
		return nil
	}
	e.list = append(e.list, epochStart{epoch, base})
	return writeFile(fs, fs.PathJoin(p.dir, leaderEpochName), e.encode(), false)
}

// EpochEnd returns the largest leader epoch up to the given one that a partition
// has seen, and the offset where it ended: the end of the partition if it is the
// last. An epoch before all that are known gives -1, -1.
func (l *Embedded) EpochEnd(tp TopicPartition, epoch int32) (int32, Offset, error) {
	p, err := l.partition(tp)
	if err != nil {
		return 0, 0, err
	}
	p.epochs.mu.Lock()
	defer p.epochs.mu.Unlock()
	list := p.epochs.list
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].epoch > epoch {
			continue
		}
		if i == len(list)-1 {
			return list[i].epoch, p.bounds().End, nil
		}
		return list[i].epoch, list[i+1].start, nil
	}
	return -1, -1, nil
}

// EpochAt returns the leader epoch that an offset belongs to: the current one
// from the end on, -1 if it is not known.
func (l *Embedded) EpochAt(tp TopicPartition, o Offset) int32 {
	p, err := l.partition(tp)
	if err != nil {
		return -1
	}
	if o >= p.bounds().End {
		return l.leaderEpoch
	}
	p.epochs.mu.Lock()
	defer p.epochs.mu.Unlock()
	for _, s := range slices.Backward(p.epochs.list) {
		if s.start <= o {
			return s.epoch
		}
	}
	return -1
}
