// Command grete is the stream processor with a durable log built in.
package main

import (
	"os"

	"github.com/gretestream/grete/engine/cli"
	"github.com/gretestream/grete/examples"
)

func main() { os.Exit(cli.Main(examples.Jobs()...)) }
