// Command ads is a job server for the ads job alone.
package main

import (
	"os"

	"github.com/gretestream/grete/engine/cli"
	"github.com/gretestream/grete/examples/ads"
)

func main() { os.Exit(cli.Main(ads.Job)) }
