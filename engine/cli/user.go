package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gretestream/grete/log/kafka"
)

func (a *app) userCommand() *cobra.Command {
	c := a.group("user", "Add, list and remove users of a server that asks who its clients are")
	c.AddCommand(a.userAdd(), a.userList(), a.userRemove())
	return c
}

// group is a command that only has others below it.
func (a *app) group(name, short string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				a.mistake("unknown command %q: want one of %s%s", args[0], commandNames(cmd), suggestion(cmd, args[0]))
			} else {
				a.mistake("want one of %s", commandNames(cmd))
			}
			return a.checkUsage()
		},
	}
}

func (a *app) userAdd() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "add NAME", Short: "Add a user, or give one a new password",
		Long: `Add a user, or give one a new password. It is asked for twice without being
shown, or is the first line of --password-file or of the standard input. Only
what it takes to check a password is kept (SCRAM-SHA-256 and SCRAM-SHA-512).

A server that runs on the directory knows the user at once. With --log it is a
user of that cluster, which has to allow it: GRETE_KAFKA_USER says who asks.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.wantArgs(args, "NAME") {
				if err := kafka.CheckUserName(args[0]); err != nil {
					a.mistake("%v", err)
				}
			}
			if err := a.checkUsage(); err != nil {
				return err
			}
			password, err := a.readPassword(file)
			if err != nil {
				return err
			}
			return a.withAccess(cmd, func(ctx context.Context, access accessStore) error {
				if err := access.SetUser(ctx, args[0], password); err != nil {
					return err
				}
				a.notef("User %s can log in. What a user may do: grete acl add --help.", args[0])
				return nil
			})
		},
	}
	c.Flags().StringVar(&file, "password-file", "", "`file` whose first line is the password; - is the standard input")
	return c
}

// readPassword gets a password without showing it.
func (a *app) readPassword(file string) (string, error) {
	in, isFile := a.in.(*os.File)
	switch {
	case file != "" && file != "-":
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		defer f.Close()
		return firstLine(f)
	case file == "-" || !isFile || !term.IsTerminal(int(in.Fd())):
		return firstLine(a.in)
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(a.err, prompt)
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(a.err)
		return string(b), err
	}
	first, err := ask("Password: ")
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	second, err := ask("Once more: ")
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	if first != second {
		return "", errors.New("the passwords differ: nothing was changed")
	}
	return first, nil
}

// firstLine reads a password off a stream.
func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 64<<10)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read password: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("read password: there is none, want a line")
	}
	return line, nil
}

func (a *app) userList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the users",
		RunE: func(cmd *cobra.Command, args []string) error {
			a.wantArgs(args)
			return a.withAccess(cmd, func(ctx context.Context, access accessStore) error {
				users, err := access.Users(ctx)
				if err != nil {
					return err
				}
				r := &rows{columns: left("User", "Mechanisms")}
				for _, u := range users {
					r.add(u.Name, strings.Join(slices.Sorted(maps.Keys(u.Mechanisms)), ", "))
				}
				return a.print(r)
			})
		},
	}
}

func (a *app) userRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Remove a user; connections of theirs end",
		RunE: func(cmd *cobra.Command, args []string) error {
			a.wantArgs(args, "NAME")
			return a.withAccess(cmd, func(ctx context.Context, access accessStore) error {
				known, err := access.RemoveUser(ctx, args[0])
				if err != nil {
					return err
				}
				if !known {
					return fmt.Errorf("there is no user %q: see grete user list", args[0])
				}
				a.notef("Removed user %s. ACLs of theirs stay: see grete acl list --principal User:%s.", args[0], args[0])
				return nil
			})
		},
	}
}
