// Command counts is a job server for the counts job alone.
package main

import (
	"os"

	"github.com/gretestream/grete/engine/cli"
	"github.com/gretestream/grete/examples/counts"
)

func main() { os.Exit(cli.Main(counts.Job)) }
