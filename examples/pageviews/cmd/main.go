// Command pageviews is a job server for the pageviews job alone.
package main

import (
	"os"

	"github.com/gretestream/grete/engine/cli"
	"github.com/gretestream/grete/examples/pageviews"
)

func main() { os.Exit(cli.Main(pageviews.Job)) }
