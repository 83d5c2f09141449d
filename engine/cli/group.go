package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/cluster"
	"github.com/gretestream/grete/log/kafka"
)

func (a *app) groupCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "group", Short: "List, describe, reset and delete consumer groups",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				a.mistake("unknown command %q: want one of %s%s", args[0], commandNames(cmd), suggestion(cmd, args[0]))
			} else {
				a.mistake("want one of %s", commandNames(cmd))
			}
			return a.checkUsage()
		},
	}
	c.AddCommand(a.groupList(), a.groupDescribe(), a.groupReset(), a.groupDelete())
	return c
}

// groups is a log whose consumer groups are looked after over the Kafka protocol,
// whoever keeps it.
type groups struct {
	*cluster.Log
	// own is set if this process holds the directory: no member of a group can
	// be alive then.
	own bool
}

// withGroups runs f on the groups of the log. A directory that nobody serves is
// served by this process as long as it takes, to itself.
func (a *app) withGroups(cmd *cobra.Command, f func(ctx context.Context, g *groups) error) error {
	return a.withData(cmd, func(ctx context.Context, d *dataDir) (err error) {
		server := d.holder
		switch {
		case d.elsewhere:
			return f(ctx, &groups{Log: d.Log.(*cluster.Log)})
		case !d.held():
			own, err := kafka.Listen(kafka.Options{Log: d.Log.(*log.Embedded), SuperUsers: []string{kafka.Anonymous}, Logger: a.logger})
			if err != nil {
				return err
			}
			defer own.Close()
			server = &running{PID: os.Getpid(), Command: "group", Kafka: own.Addr()}
		case d.holder.Kafka == "":
			return fmt.Errorf("data directory %s is held by \"grete %s\" (pid %d), which serves no Kafka clients: give it --kafka, or wait until it has ended", d.path, d.holder.Command, d.holder.PID)
		}
		joined, err := a.joinServer(ctx, server)
		if err != nil {
			return err
		}
		defer joined.closing(&err)
		return f(ctx, &groups{Log: joined.Log.(*cluster.Log), own: !d.held()})
	})
}

// withGroup is withGroups for the group named by args.
func (a *app) withGroup(cmd *cobra.Command, args []string, f func(ctx context.Context, g *groups, name string) error) error {
	a.wantArgs(args, "GROUP")
	return a.withGroups(cmd, func(ctx context.Context, g *groups) error {
		err := f(ctx, g, args[0])
		switch {
		case errors.Is(err, cluster.ErrUnknownGroup):
			return fmt.Errorf("%w: \"grete group list\" lists those that there are", err)
		case errors.Is(err, cluster.ErrGroupInUse):
			return fmt.Errorf("%w: stop its consumers first", err)
		}
		return err
	})
}

func (a *app) groupList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the groups with their state and lag",
		RunE: func(cmd *cobra.Command, args []string) error {
			a.wantArgs(args)
			return a.withGroups(cmd, func(ctx context.Context, g *groups) error {
				list, err := g.Groups(ctx)
				if err != nil {
					return err
				}
				r := &rows{columns: []column{{title: "Group"}, {title: "State"}, {title: "Type"}, {"Members", true}, {"Partitions", true}, {"Lag", true}}}
				for i := range list {
					group, err := g.Group(ctx, list[i].Name)
					if errors.Is(err, cluster.ErrUnknownGroup) {
						continue // it has gone meanwhile
					}
					if err != nil {
						return err
					}
					lags, err := g.lags(ctx, &group)
					if err != nil {
						return err
					}
					var sum int64
					for _, l := range lags {
						sum += max(l.lag(), 0)
					}
					r.add(group.Name, group.State, group.ProtocolType, len(group.Members), len(lags), sum)
				}
				return a.print(r)
			})
		},
	}
}

// lag is how far a group has come in one partition.
type lag struct {
	log.TopicPartition
	committed  log.Offset // -1: nothing
	start, end log.Offset
	metadata   string
	member     *cluster.GroupMember // nil: nobody
}

// lag is the number of offsets that are not read; -1 if nothing was committed.
// What has been deleted unread does not count.
func (l *lag) lag() int64 {
	if l.committed < 0 {
		return -1
	}
	return int64(max(l.end-max(l.committed, l.start), 0))
}

// lags are all partitions that a group has committed to or that a member has,
// in order.
func (g *groups) lags(ctx context.Context, group *cluster.Group) ([]lag, error) {
	committed, err := g.Committed(ctx, group.Name)
	if err != nil {
		return nil, err
	}
	found := map[log.TopicPartition]*lag{}
	for tp, o := range committed {
		found[tp] = &lag{TopicPartition: tp, committed: o.Offset, metadata: o.Metadata}
	}
	for i := range group.Members {
		m := &group.Members[i]
		for _, tp := range m.Partitions {
			if found[tp] == nil {
				found[tp] = &lag{TopicPartition: tp, committed: -1}
			}
			found[tp].member = m
		}
	}
	list := make([]lag, 0, len(found))
	for _, tp := range slices.SortedFunc(maps.Keys(found), comparePartitions) {
		l := found[tp]
		b, err := g.Bounds(ctx, tp)
		if errors.Is(err, log.ErrUnknownTopic) || errors.Is(err, log.ErrUnknownPartition) {
			continue
		}
		if err != nil {
			return nil, err
		}
		l.start, l.end = b.Start, b.End
		list = append(list, *l)
	}
	return list, nil
}

func comparePartitions(a, b log.TopicPartition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return cmp.Compare(a.Partition, b.Partition)
}

func (a *app) groupDescribe() *cobra.Command {
	var members bool
	c := &cobra.Command{
		Use: "describe GROUP", Short: "Show how far a group has come, or its members",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withGroup(cmd, args, func(ctx context.Context, g *groups, name string) error {
				group, err := g.Group(ctx, name)
				if err != nil {
					return err
				}
				if a.common.output == "table" {
					fmt.Fprintf(a.out, "Group %s is %s", group.Name, group.State)
					if group.Protocol != "" {
						fmt.Fprintf(a.out, ", assigns by %s", group.Protocol)
					}
					fmt.Fprintf(a.out, ", members: %d\n\n", len(group.Members))
				}
				if members {
					return a.print(memberRows(&group))
				}
				lags, err := g.lags(ctx, &group)
				if err != nil {
					return err
				}
				return a.print(lagRows(&group, lags))
			})
		},
	}
	a.boolVar(c.Flags(), &members, "members", "show the members instead of the partitions")
	return c
}

func lagRows(group *cluster.Group, lags []lag) *rows {
	r := &rows{columns: []column{
		{title: "Group"}, {title: "Topic"}, {"Partition", true}, {"Committed", true}, {"End", true}, {"Lag", true},
		{title: "Member"}, {title: "Host"}, {title: "Client"}, {title: "Metadata"},
	}}
	for i := range lags {
		l := &lags[i]
		member := l.member
		if member == nil {
			member = &cluster.GroupMember{}
		}
		r.add(group.Name, l.Topic, int(l.Partition), int64(l.committed), int64(l.end), l.lag(), member.ID, member.Host, member.ClientID, l.metadata)
	}
	return r
}

func memberRows(group *cluster.Group) *rows {
	r := &rows{columns: []column{{title: "Group"}, {title: "Member"}, {title: "Instance"}, {title: "Host"}, {title: "Client"}, {"Partitions", true}, {title: "Assignment"}}}
	for i := range group.Members {
		m := &group.Members[i]
		var names []string
		for _, tp := range m.Partitions {
			names = append(names, tp.String())
		}
		r.add(group.Name, m.ID, m.Instance, m.Host, m.ClientID, len(m.Partitions), strings.Join(names, " "))
	}
	return r
}

func (a *app) groupReset() *cobra.Command {
	var to string
	var topics []string
	var dryRun bool
	c := &cobra.Command{
		Use: "reset GROUP", Short: "Set where a group without members reads on",
		Long: `Set the committed offsets of a group that has no members. --to is earliest,
latest, an offset, or a time such as 2026-05-01T12:00:00Z: then the group reads
on from the first record of that time or later. An offset out of bounds becomes
the nearest that is within.

Without --topic it is all partitions that the group has committed to.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := parseTarget(to)
			if err != nil {
				a.mistake("%v", err)
			}
			return a.withGroup(cmd, args, func(ctx context.Context, g *groups, name string) error {
				offsets, r, err := g.plan(ctx, name, topics, target)
				if err != nil {
					return err
				}
				if len(offsets) == 0 {
					return fmt.Errorf("group %q has committed nothing: name the topics with --topic", name)
				}
				if !dryRun {
					if err := g.clear(ctx, name); err != nil {
						return err
					}
					if err := g.ResetGroup(ctx, name, offsets); err != nil {
						return err
					}
				}
				if err := a.print(r); err != nil {
					return err
				}
				if dryRun {
					a.notef("Nothing was changed: leave --dry-run out to do it.")
				}
				return nil
			})
		},
	}
	c.Flags().StringVar(&to, "to", "", "`where`: earliest, latest, an offset or a time")
	a.listVar(c.Flags(), &topics, "topic", "`name` of a topic to reset, all of its partitions; may be repeated")
	a.boolVar(c.Flags(), &dryRun, "dry-run", "only show what would be set")
	return c
}

// target is where a group shall read on.
type target struct {
	earliest, latest bool
	offset           log.Offset
	time             log.Timestamp
	byTime           bool
}

func parseTarget(s string) (t target, err error) {
	switch s {
	case "earliest":
		return target{earliest: true}, nil
	case "latest":
		return target{latest: true}, nil
	}
	var n int64
	if _, errNumber := fmt.Sscanf(s, "%d", &n); errNumber == nil && fmt.Sprint(n) == s && n >= 0 {
		return target{offset: log.Offset(n)}, nil
	}
	at, errTime := time.Parse(time.RFC3339, s)
	if errTime != nil {
		return t, fmt.Errorf("--to %q: want earliest, latest, an offset, or a time such as 2026-05-01T12:00:00Z", s)
	}
	return target{time: log.TimestampOf(at), byTime: true}, nil
}

// offsetOf finds the offset in one partition.
func (g *groups) offsetOf(ctx context.Context, tp log.TopicPartition, t target) (log.Offset, error) {
	b, err := g.Bounds(ctx, tp)
	switch {
	case err != nil:
		return 0, err
	case t.earliest:
		return b.Start, nil
	case t.latest:
		return b.End, nil
	case t.byTime:
		o, _, err := g.OffsetFor(ctx, tp, t.time)
		return o, err
	}
	return min(max(t.offset, b.Start), b.End), nil
}

// plan tells which offsets to commit.
func (g *groups) plan(ctx context.Context, name string, topics []string, t target) ([]log.GroupOffset, *rows, error) {
	committed, err := g.Committed(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	tps := slices.SortedFunc(maps.Keys(committed), comparePartitions)
	if len(topics) > 0 {
		tps = nil
		for _, topic := range topics {
			d, err := g.Topic(ctx, topic)
			if err != nil {
				return nil, nil, err
			}
			for p := range d.Partitions {
				tps = append(tps, log.TopicPartition{Topic: topic, Partition: int32(p)})
			}
		}
	}
	r := &rows{columns: []column{{title: "Group"}, {title: "Topic"}, {"Partition", true}, {"Committed", true}, {"New", true}}}
	var offsets []log.GroupOffset
	for _, tp := range tps {
		to, err := g.offsetOf(ctx, tp, t)
		if errors.Is(err, log.ErrUnknownTopic) && len(topics) == 0 {
			continue // it is gone
		}
		if err != nil {
			return nil, nil, err
		}
		was := int64(-1)
		if o, ok := committed[tp]; ok {
			was = int64(o.Offset)
		}
		offsets = append(offsets, log.GroupOffset{TopicPartition: tp, Offset: to, LeaderEpoch: -1})
		r.add(name, tp.Topic, int(tp.Partition), was, int64(to))
	}
	return offsets, r, nil
}

// clear removes members that cannot be alive: those of a directory that no
// process serves.
func (g *groups) clear(ctx context.Context, name string) error {
	if !g.own {
		return nil
	}
	group, err := g.Group(ctx, name)
	if errors.Is(err, cluster.ErrUnknownGroup) {
		return nil
	}
	if err != nil {
		return err
	}
	return g.RemoveMembers(ctx, &group)
}

func (a *app) groupDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete GROUP", Short: "Delete a group without members, and its offsets",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withGroup(cmd, args, func(ctx context.Context, g *groups, name string) error {
				if err := g.clear(ctx, name); err != nil {
					return err
				}
				if err := g.DeleteGroup(ctx, name); err != nil {
					return err
				}
				a.notef("Deleted group %s.", name)
				return nil
			})
		},
	}
}
