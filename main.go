// Command grete is the stream processor with a durable log built in.
package main

func main() {}
