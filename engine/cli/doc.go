// Package cli is the command line of Grete: every binary that calls Main with
// its jobs is a complete job server.
//
//	func main() { os.Exit(cli.Main(jobs.Job{Name: "page-view-counts", Build: CountPageViews})) }
//
// The commands are listed by "grete help". Those that read or write a data
// directory open it themselves if it is free; if another process holds it, they
// find that process through the file running.json in the directory and talk to
// it over HTTP. Nothing else tells the two ways apart.
//
// # Output
//
// What was asked for goes to the standard output, in the form of --output: a
// table for people, json (one object a line), or csv. Everything else goes to the
// standard error: progress (only on a terminal), notes, errors. Colours are used
// on a terminal only, and not where NO_COLOR is set.
//
// # Exit codes
//
//	0  done; or stopped by a signal, where running until then is the purpose
//	1  something failed: one line on the standard error says what
//	2  the command line is mistaken: all mistakes are listed
//
// The first SIGINT or SIGTERM ends a command in order: what is under way is
// committed. A second one ends it at once, with code 130; nothing acknowledged is
// lost by that, either.
package cli
