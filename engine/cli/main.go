package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/cluster"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitKilled  = 130 // by a second signal
)

// Main runs the command line of the process with these jobs linked in, and
// returns the exit code.
func Main(jobs ...jobs.Job) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitKilled)
	}()
	return run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, jobs)
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// app is one run of the command line.
type app struct {
	streams
	jobs           []jobs.Job
	terminal       terminal
	logger         hclog.Logger
	common         commonFlags
	security       security        // of who serves Kafka clients, as the next three
	nodeID         int32           // that Kafka clients know this server by
	noAutoCreate   bool            // only who asks for a topic makes one
	rebalanceDelay time.Duration   // for the first members of a group
	cluster        cluster.Options // of --log, if it is given
	mistakes       []string        // of the command line, all of them
}

// commonFlags are the flags of all commands.
type commonFlags struct {
	data     string
	log      string
	memory   int64 // bytes
	http     string
	kafka    string // Kafka listener of a process that serves; empty: none
	insecure bool
	sync     syncFlag
	verbose  bool
	output   string
}

// defaultMemory is --memory where it is not given: 1 GiB.
const defaultMemory = 1 << 30

// usageError is a mistaken command line.
type usageError struct{ mistakes []string }

func (e *usageError) Error() string { return strings.Join(e.mistakes, "\n") }

// run is Main without the process: it is what tests call.
func run(ctx context.Context, args []string, s streams, list []jobs.Job) int {
	a := &app{streams: s, jobs: list, terminal: terminalOf(s)}
	root := a.root()
	root.SetArgs(args)
	a.findUnknownFlags(root, args)
	err := root.ExecuteContext(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		for _, m := range usage.mistakes {
			a.errorf("%s", m)
		}
		fmt.Fprintf(a.err, "See: %s --help\n", a.commandPath(root, args))
		return exitUsage
	case errors.Is(err, errReported):
		return exitFailure
	}
	// Lists of several things come on lines of their own, below the first.
	a.errorf("%s", strings.ReplaceAll(explain(err).Error(), "\n", "\n  "))
	return exitFailure
}

// explain adds what to do to an error that comes from the depth.
func explain(err error) error {
	switch {
	case errors.Is(err, log.ErrNoSpace):
		return fmt.Errorf("%w: make room on the disk and run the same command again; nothing acknowledged is lost", err)
	case errors.Is(err, log.ErrReadOnly):
		return fmt.Errorf("%w: see what is wrong with the disk, then start again; nothing acknowledged is lost", err)
	case errors.Is(err, log.ErrNewerFormat):
		return fmt.Errorf("%w: use the newer grete that wrote it", err)
	case errors.Is(err, log.ErrCorrupt):
		return fmt.Errorf("%w: nothing was changed; \"grete fsck\" lists all damage", err)
	}
	return err
}

// errReported ends a command whose failure has been shown already.
var errReported = errors.New("reported")

// errorf shows an error.
func (a *app) errorf(format string, args ...any) {
	fmt.Fprintf(a.err, "%s %s\n", a.terminal.red("error:"), fmt.Sprintf(format, args...))
}

// notef tells what is going on.
func (a *app) notef(format string, args ...any) {
	fmt.Fprintf(a.err, format+"\n", args...)
}

// root builds the commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "grete",
		Short:         "A stream processor with a durable log built in",
		Long:          "Grete runs jobs over partitioned, replayable topics, keeps their state on local disk, and answers queries while they run.\n\n" + a.jobList(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				a.mistake("unknown command %q: want one of %s%s", args[0], commandNames(cmd), suggestion(cmd, args[0]))
				return a.checkUsage()
			}
			if err := a.checkUsage(); err != nil {
				return err
			}
			return cmd.Help()
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetIn(a.in)
	f := root.PersistentFlags()
	f.StringVar(&a.common.data, "data", "grete-data", "data `directory` of the log and the state of jobs")
	f.StringVar(&a.common.log, "log", "", "a log kept elsewhere, kafka://`HOST:PORT`; --data then holds the state of jobs only")
	a.common.memory = defaultMemory
	f.Var(flagOf(a, "memory", &a.common.memory, parseBytes, formatBytes), "memory", "memory to use, in `bytes` or with a unit")
	f.StringVar(&a.common.http, "http", "", "`address` to serve HTTP at; default 127.0.0.1:8090, or a free port if that is taken")
	f.StringVar(&a.common.kafka, "kafka", "", "`address` to serve the Kafka protocol at; serve has 127.0.0.1:9092 unless told")
	a.boolVar(f, &a.common.insecure, "insecure", "allow --http and --kafka addresses that other machines can reach")
	f.Var(flagOf(a, "sync", &a.common.sync, parseSync, syncFlag.String), "sync", "when an append is acknowledged: `group` (synced), interval=1s or none")
	a.boolVar(f, &a.common.verbose, "verbose", "tell more of what happens")
	a.common.output = "table"
	f.Var(a.choice("output", &a.common.output, "table", "json", "csv", "arrow"), "output", "form of the output: `table`, json or csv; of query also arrow")
	f.SortFlags = false

	for _, c := range []*cobra.Command{
		a.demoCommand(), a.ingestCommand(), a.runCommand(), a.queryCommand(), a.reprocessCommand(), a.describeCommand(),
		a.serveCommand(), a.topicCommand(), a.groupCommand(), a.userCommand(), a.aclCommand(), a.produceCommand(), a.consumeCommand(), a.fsckCommand(), a.benchCommand(), a.versionCommand(),
	} {
		root.AddCommand(c)
	}
	a.prepare(root)
	return root
}

// prepare makes every command report all mistakes of its line before it runs.
func (a *app) prepare(cmd *cobra.Command) {
	cmd.FParseErrWhitelist.UnknownFlags = true // findUnknownFlags reports them
	cmd.DisableFlagsInUseLine = true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		a.mistake("%v", err)
		return a.checkUsage()
	})
	if strings.HasSuffix(cmd.Use, " JOB") {
		cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.jobNames(), cobra.ShellCompDirectiveNoFileComp
		}
	}
	if cmd.Args == nil {
		cmd.Args = cobra.ArbitraryArgs // checked by the command, so that its words are ours
	}
	for _, c := range cmd.Commands() {
		a.prepare(c)
	}
	if inner := cmd.RunE; inner != nil && cmd.HasParent() {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			a.setUp()
			a.checkLog(cmd)
			if a.common.output == "arrow" && cmd.Name() != "query" {
				a.mistake("--output arrow: only query writes Arrow, want table, json or csv")
			}
			return inner(cmd, args)
		}
	}
}

// setUp applies the common flags.
func (a *app) setUp() {
	if a.common.data == "" {
		a.mistake("--data is empty, want a directory")
	}
	level := hclog.Warn
	if a.common.verbose {
		level = hclog.Debug
	}
	a.logger = hclog.New(&hclog.LoggerOptions{
		Name: "grete", Level: level, Output: a.err, DisableTime: !a.common.verbose,
	})
	debug.SetMemoryLimit(a.common.memory)
}

// mistake notes what is wrong with the command line.
func (a *app) mistake(format string, args ...any) {
	m := fmt.Sprintf(format, args...)
	if !slices.Contains(a.mistakes, m) {
		a.mistakes = append(a.mistakes, m)
	}
}

// checkUsage is called by a command once it has looked at all of its flags.
func (a *app) checkUsage() error {
	if len(a.mistakes) == 0 {
		return nil
	}
	return &usageError{a.mistakes}
}

// wantArgs notes a mistake unless there are as many arguments as names; a last
// name that ends in "..." stands for one or more.
func (a *app) wantArgs(args []string, names ...string) bool {
	most := len(names)
	if most > 0 && strings.HasSuffix(names[most-1], "...") {
		most = len(args)
	}
	switch {
	case len(args) < len(names):
		a.mistake("%s is missing", strings.TrimSuffix(names[len(args)], "..."))
	case len(args) > most:
		a.mistake("unexpected argument %q", args[most])
	default:
		return true
	}
	return false
}

// findUnknownFlags notes every flag that the command does not have: the flag
// parser would stop at the first.
func (a *app) findUnknownFlags(root *cobra.Command, args []string) {
	cmd, rest, err := root.Find(args)
	if err != nil {
		return
	}
	if len(args) > 0 && strings.HasPrefix(args[0], "__complete") || cmd.Name() == "help" || cmd.HasParent() && cmd.Parent().Name() == "completion" {
		return
	}
	flags := pflag.NewFlagSet("all", pflag.ContinueOnError)
	cmd.InitDefaultHelpFlag()
	flags.AddFlagSet(cmd.Flags())
	flags.AddFlagSet(cmd.InheritedFlags())
	flags.AddFlagSet(cmd.PersistentFlags())
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		if arg == "--" {
			return
		}
		if len(arg) < 2 || arg[0] != '-' || arg[1] >= '0' && arg[1] <= '9' {
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		f := flags.Lookup(name)
		if f == nil && len(arg) > 1 && arg[1] != '-' && len(name) >= 1 {
			f = flags.ShorthandLookup(name[:1])
		}
		if f == nil {
			a.mistake("unknown flag %s of %s%s", arg, cmd.CommandPath(), flagSuggestion(flags, name))
			continue
		}
		if !hasValue && f.NoOptDefVal == "" {
			i++
		}
	}
}

// commandPath names the command that the arguments ask for.
func (a *app) commandPath(root *cobra.Command, args []string) string {
	if cmd, _, err := root.Find(args); err == nil {
		return cmd.CommandPath()
	}
	return root.Name()
}

func commandNames(cmd *cobra.Command) string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return strings.Join(names, ", ")
}

func suggestion(cmd *cobra.Command, name string) string {
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(name); len(s) > 0 {
		return fmt.Sprintf(" (did you mean %s?)", s[0])
	}
	return ""
}

// flagSuggestion names the flag that is nearest to a wrong one.
func flagSuggestion(flags *pflag.FlagSet, name string) string {
	best, distance := "", max(1, len(name)/3)+1
	flags.VisitAll(func(f *pflag.Flag) {
		if d := editDistance(f.Name, name); d < distance {
			best, distance = f.Name, d
		}
	})
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean --%s?)", best)
}

// editDistance counts the letters to add, drop or change between a and b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// findJob returns the linked job of that name.
func (a *app) findJob(name string) (*jobs.Job, bool) {
	for i := range a.jobs {
		if a.jobs[i].Name == name {
			return &a.jobs[i], true
		}
	}
	return nil, false
}

// wantJob is findJob that notes a mistake.
func (a *app) wantJob(name string) *jobs.Job {
	j, ok := a.findJob(name)
	if !ok {
		a.mistake("unknown job %q: this binary has %s", name, orNone(a.jobNames()))
	}
	return j
}

func (a *app) jobNames() []string {
	var names []string
	for i := range a.jobs {
		names = append(names, a.jobs[i].Name)
	}
	slices.Sort(names)
	return names
}

func (a *app) jobList() string {
	if len(a.jobs) == 0 {
		return "No jobs are linked into this binary."
	}
	var b strings.Builder
	b.WriteString("Jobs in this binary:\n")
	for _, name := range a.jobNames() {
		j, _ := a.findJob(name)
		fmt.Fprintf(&b, "  %-12s %s\n", name, j.Doc)
	}
	return strings.TrimRight(b.String(), "\n")
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// now is the wall clock of the command line.
func (a *app) now() time.Time { return time.Now() }
