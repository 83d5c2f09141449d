package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gretestream/grete/log"
)

func (a *app) topicCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "topic", Short: "Create, list, describe, alter, delete and export topics",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				a.mistake("unknown command %q: want one of %s%s", args[0], commandNames(cmd), suggestion(cmd, args[0]))
			} else {
				a.mistake("want one of %s", commandNames(cmd))
			}
			return a.checkUsage()
		},
	}
	c.AddCommand(a.topicCreate(), a.topicList(), a.topicDescribe(), a.topicAlter(), a.topicDelete(), a.topicExport())
	return c
}

// withTopic runs f on the data directory, for the topic named by args.
func (a *app) withTopic(cmd *cobra.Command, args []string, f func(ctx context.Context, d *dataDir, name string) error) error {
	a.wantArgs(args, "TOPIC")
	return a.withData(cmd, func(ctx context.Context, d *dataDir) error { return f(ctx, d, args[0]) })
}

func (a *app) topicCreate() *cobra.Command {
	var partitions int
	var configs map[string]string
	c := &cobra.Command{
		Use: "create TOPIC", Short: "Create a topic",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withTopic(cmd, args, func(ctx context.Context, d *dataDir, name string) error {
				t, err := d.CreateTopic(ctx, log.TopicSpec{Name: name, Partitions: partitions, Configs: configs})
				if err != nil {
					return err
				}
				a.notef("Created topic %s with %d partitions.", t.Name, t.Partitions)
				return nil
			})
		},
	}
	a.intVar(c.Flags(), &partitions, "partitions", 1, "`number` of partitions; default 4")
	a.pairsVar(c.Flags(), &configs, "config", "a setting by Kafka's name, such as `retention.ms=86400000`; may be repeated")
	return c
}

// jobInternal are the topics that a job makes for itself.
var jobInternal = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*\.\d+\.(.*\.)?(changelog|repartition|checkpoint)$|^grete\.jobs$`)

func isInternal(t *log.Topic) bool { return t.Internal || jobInternal.MatchString(t.Name) }

func (a *app) topicList() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "list", Short: "List the topics",
		RunE: func(cmd *cobra.Command, args []string) error {
			a.wantArgs(args)
			return a.withData(cmd, func(ctx context.Context, d *dataDir) error {
				topics, err := d.Topics(ctx)
				if err != nil {
					return err
				}
				r := &rows{columns: []column{{title: "Topic"}, {"Partitions", true}, {"Records", true}, {title: "Internal"}}}
				for i := range topics {
					t := &topics[i]
					if isInternal(t) && !all {
						continue
					}
					var records int64
					for p := range t.Partitions {
						b, err := d.Bounds(ctx, log.TopicPartition{Topic: t.Name, Partition: int32(p)})
						if err != nil {
							return err
						}
						records += int64(b.End - b.Start)
					}
					r.add(t.Name, t.Partitions, records, isInternal(t))
				}
				return a.print(r)
			})
		},
	}
	a.boolVar(c.Flags(), &all, "all", "list internal topics as well")
	return c
}

func (a *app) topicDescribe() *cobra.Command {
	return &cobra.Command{
		Use: "describe TOPIC", Short: "Show a topic's partitions and settings",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withTopic(cmd, args, func(ctx context.Context, d *dataDir, name string) error {
				t, err := d.Topic(ctx, name)
				if err != nil {
					return unknownTopic(ctx, d, name, err)
				}
				r := &rows{columns: []column{{title: "Topic"}, {"Partition", true}, {"Start", true}, {"End", true}, {"Records", true}}}
				for p := range t.Partitions {
					b, err := d.Bounds(ctx, log.TopicPartition{Topic: name, Partition: int32(p)})
					if err != nil {
						return err
					}
					r.add(t.Name, p, int64(b.Start), int64(b.End), int64(b.End-b.Start))
				}
				if a.common.output == "table" {
					fmt.Fprintf(a.out, "Topic %s, id %s\n", t.Name, base64.RawURLEncoding.EncodeToString(t.ID[:]))
					for _, k := range slices.Sorted(maps.Keys(t.Configs)) {
						fmt.Fprintf(a.out, "  %s=%s\n", k, t.Configs[k])
					}
					fmt.Fprintln(a.out)
				}
				return a.print(r)
			})
		},
	}
}

func (a *app) topicAlter() *cobra.Command {
	var set map[string]string
	var unset []string
	var partitions int
	c := &cobra.Command{
		Use: "alter TOPIC", Short: "Change a topic's settings, or add partitions",
		Long: `Change a topic's settings, or raise the number of its partitions. Records stay
where they are: afterwards a key may be found in two partitions, so a job that
reads the topic refuses to go on with it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(set)+len(unset)+partitions == 0 {
				a.mistake("nothing to change: want --config NAME=VALUE, --unset NAME or --partitions NUMBER")
			}
			configs := map[string]*string{}
			for k, v := range set {
				configs[k] = &v
			}
			for _, k := range unset {
				if _, both := configs[k]; both {
					a.mistake("%s is both set and unset", k)
				}
				configs[k] = nil
			}
			return a.withTopic(cmd, args, func(ctx context.Context, d *dataDir, name string) error {
				if partitions > 0 {
					if err := d.addPartitions(ctx, name, partitions); err != nil {
						return err
					}
				}
				if len(configs) == 0 {
					return nil
				}
				t, err := d.AlterTopic(ctx, name, configs)
				if err != nil {
					return err
				}
				var list []string
				for _, k := range slices.Sorted(maps.Keys(t.Configs)) {
					list = append(list, k+"="+t.Configs[k])
				}
				a.notef("Topic %s now has %s.", t.Name, orNone(list))
				return nil
			})
		},
	}
	a.pairsVar(c.Flags(), &set, "config", "a setting by Kafka's name, such as `retention.ms=86400000`; may be repeated")
	a.listVar(c.Flags(), &unset, "unset", "`name` of a setting that goes back to its default; may be repeated")
	a.intVar(c.Flags(), &partitions, "partitions", 1, "`number` of partitions, more than there are")
	return c
}

func (d *dataDir) addPartitions(ctx context.Context, name string, n int) error {
	l, ok := d.Log.(log.PartitionAdder)
	if !ok {
		return fmt.Errorf("add partitions to topic %q: this log cannot", name)
	}
	t, err := l.AddPartitions(ctx, name, n)
	if err != nil {
		return err
	}
	d.app.notef("Topic %s now has %d partitions.", t.Name, t.Partitions)
	return nil
}

func (a *app) topicExport() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use: "export TOPIC", Short: "Copy a topic into Kafka's files",
		Long: `Copy a topic into Kafka's files: for each partition a directory with segments,
their indexes and partition.metadata, of one moment. Kafka's tools read them, and
a Kafka broker serves them from its log directory if the topic has the same id
there.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				a.mistake("where: want --to DIRECTORY")
			}
			return a.withTopic(cmd, args, func(ctx context.Context, d *dataDir, name string) error {
				l, ok := d.Log.(log.Exporter)
				if !ok {
					return fmt.Errorf("export topic %q: this log cannot", name)
				}
				if err := l.Export(ctx, name, to); err != nil {
					return err
				}
				a.notef("Exported topic %s to %s.", name, to)
				return nil
			})
		},
	}
	c.Flags().StringVar(&to, "to", "", "`directory` to make the partitions' directories in")
	return c
}

func (a *app) topicDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete TOPIC", Short: "Delete a topic and its records",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withTopic(cmd, args, func(ctx context.Context, d *dataDir, name string) error {
				if strings.HasPrefix(name, "__") || jobInternal.MatchString(name) {
					return fmt.Errorf("topic %q is internal: a job or the log itself needs it", name)
				}
				if err := d.DeleteTopic(ctx, name); err != nil {
					return err
				}
				a.notef("Deleted topic %s.", name)
				return nil
			})
		},
	}
}
