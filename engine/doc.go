// Package engine runs jobs in containers.
package engine
