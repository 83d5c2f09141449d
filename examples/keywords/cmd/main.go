// Command keywords is a job server for the keywords job alone.
package main

import (
	"os"

	"github.com/gretestream/grete/engine/cli"
	"github.com/gretestream/grete/examples/keywords"
)

func main() { os.Exit(cli.Main(keywords.Job)) }
