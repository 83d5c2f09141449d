package log

import (
	"context"
	"fmt"
	"strings"

	"github.com/cockroachdb/datadriven"
)

// doTxn plays what a story says of producers and transactions.
func (s *story) doTxn(d *datadriven.TestData, b *strings.Builder) error {
	ctx := context.Background()
	var pid int64
	var epoch int16
	var group string
	var tps []TopicPartition
	var offsets []GroupOffset
	for _, a := range d.CmdArgs {
		switch {
		case a.Key == "pid":
			a.Scan(s.t, 0, &pid)
		case a.Key == "epoch":
			a.Scan(s.t, 0, &epoch)
		case a.Key == "group":
			group = a.Vals[0]
		case strings.Contains(a.Key, "@"):
			tp, off, _ := strings.Cut(a.Key, "@")
			var o int64
			fmt.Sscan(off, &o)
			offsets = append(offsets, GroupOffset{TopicPartition: parseTP(tp), Offset: Offset(o), LeaderEpoch: -1})
		default:
			if tp, ok := parsePartitionDir(a.Key); ok {
				tps = append(tps, tp)
			}
		}
	}
	switch d.Cmd {
	case "produce":
		var sequence int32
		n, attributes := 1, int16(0)
		d.ScanArgs(s.t, "seq", &sequence)
		if d.HasArg("n") {
			d.ScanArgs(s.t, "n", &n)
		}
		if d.HasArg("txn") {
			attributes = attrTransactional
		}
		pd, err := s.l.Produce(tps[0], s.clientBatch(tps[0], pid, epoch, sequence, n, attributes), ProduceOptions{})
		if err != nil {
			return err
		}
		r, err := pd.Wait(ctx)
		if pd.last < 0 && err == nil {
			s.next[tps[0]] += n
		}
		fmt.Fprintf(b, "at %d\n", r.Base)
		return err
	case "end":
		c := &Commit{}
		for _, tp := range tps {
			c.Markers = append(c.Markers, Marker{TopicPartition: tp, ProducerID: pid, ProducerEpoch: epoch, Commit: d.HasArg("commit")})
			if tp.Topic != offsetsTopic {
				s.next[tp]++ // the marker takes up an offset
			}
		}
		_, err := s.l.Commit(ctx, c)
		return err
	case "txn-offsets":
		return s.l.CommitTxnOffsets(ctx, group, pid, epoch, offsets)
	case "bounds":
		bounds, err := s.l.Bounds(ctx, tps[0])
		fmt.Fprintf(b, "start %d stable %d end %d", bounds.Start, bounds.Stable, bounds.End)
		aborted, aerr := s.l.Aborted(tps[0], bounds.Start, bounds.End)
		for _, a := range aborted {
			fmt.Fprintf(b, ", aborted %d to %d of producer %d", a.FirstOffset, a.LastOffset, a.ProducerID)
		}
		b.WriteString("\n")
		if err == nil {
			err = aerr
		}
		return err
	case "producers":
		ps, err := s.l.Producers(tps[0])
		for _, p := range ps {
			fmt.Fprintf(b, "%d: epoch %d sequence %d transaction %d\n", p.ProducerID, p.Epoch, p.LastSequence, p.TxnStart)
		}
		return err
	case "pending":
		fmt.Fprintln(b, s.l.PendingOffsets(d.CmdArgs[0].Key))
		return nil
	}
	return fmt.Errorf("unknown command %s", d.Cmd)
}

// clientBatch is clientBatch with the values that the story counts.
func (s *story) clientBatch(tp TopicPartition, pid int64, epoch int16, sequence int32, n int, attributes int16) []byte {
	var recs []Record
	for i := range n {
		recs = append(recs, Record{Offset: Offset(i), Timestamp: TimestampOf(s.now), Value: value(s.next[tp] + i)})
	}
	return appendBatch(nil, BatchInfo{
		ProducerID: pid, ProducerEpoch: epoch, BaseSequence: sequence, LastOffsetDelta: int32(n - 1), Attributes: attributes,
	}, TimestampOf(s.now), recs)
}
