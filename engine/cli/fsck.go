package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gretestream/grete/log"
)

func (a *app) fsckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "fsck", Short: "Verify every byte of the log in the data directory",
		Long: `Verify every byte of the log in the data directory, and change nothing: journal,
segments, indexes, checksums. No process may hold the directory.

Exit code 0: all is well, perhaps with leftovers of a crash that the next start
deals with; 1: something is damaged.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.wantArgs(args)
			if err := a.checkUsage(); err != nil {
				return err
			}
			bar := a.progress("fsck", "B")
			started := a.now()
			report, err := log.Verify(cmd.Context(), log.DefaultFS, a.common.data, bar.update)
			bar.end()
			if errors.Is(err, log.ErrLocked) {
				return a.heldBy(err)
			}
			if err != nil {
				return err
			}
			return a.printReport(&report, a.now().Sub(started))
		},
	}
}

// heldBy says who holds the directory, if that is known.
func (a *app) heldBy(err error) error {
	r, errRead := readRunning(a.common.data)
	if errRead != nil {
		return fmt.Errorf("%w: end that process first", err)
	}
	return fmt.Errorf("%w: \"grete %s\" (pid %d): end it first (kill %d)", err, r.Command, r.PID, r.PID)
}

// printReport tells what fsck found. Damage makes the exit code 1.
func (a *app) printReport(report *log.Report, took time.Duration) error {
	r := &rows{columns: []column{{title: "Kind"}, {title: "File"}, {"Position", true}, {title: "Problem"}}}
	damaged := 0
	for _, p := range report.Problems {
		kind := "damaged"
		if p.Harmless {
			kind = "leftover"
		} else {
			damaged++
		}
		r.add(kind, p.File, p.Pos, p.Err.Error())
	}
	if a.common.output != "table" || len(r.cells) > 0 {
		if err := a.print(r); err != nil {
			return err
		}
	}
	a.notef("Read %s in %s: %s topics, %s partitions, %s segments, %s batches, %s records, %s journal entries.",
		formatBytes(report.Bytes), took.Round(time.Millisecond), groupDigits(int64(report.Topics)), groupDigits(int64(report.Partitions)),
		groupDigits(int64(report.Segments)), groupDigits(report.Batches), groupDigits(report.Records), groupDigits(int64(report.JournalEntries)))
	if report.OK() {
		a.notef("No damage found.")
		return nil
	}
	a.errorf("%s: %d places are damaged; nothing was changed: restore these files from a copy, or delete the topics they belong to", a.common.data, damaged)
	return errReported
}
