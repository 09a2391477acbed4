// Package common is what both Go clients share: the command line of ../README.md and its record format.
package common

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

const (
	firstTimestamp = 1_700_000_000_000
	step           = 1000
)

// Record is one line of the input, or one record that was read.
type Record struct {
	Partition int32
	Offset    int64
	Timestamp int64
	Key       []byte
	Value     []byte
	N         []byte
}

// Client is one library.
type Client interface {
	Create(bootstrap, topic string, partitions int) error
	Write(bootstrap, topic string, records []Record, codec, acks string, idempotent bool) error
	Read(bootstrap, topic string, partition int32, offset, count int64, show func(Record)) error
	At(bootstrap, topic string, partition int32, timestamp int64) (int64, error)
	Ends(bootstrap, topic string, partition int32) (int64, int64, error)
	WriteLines(bootstrap, topic, codec string, lines *bufio.Reader) error
}

func records(path string, partitions int) []Record {
	file, err := os.Open(path)
	Check(err)
	defer file.Close()
	var found []Record
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for i := 0; lines.Scan(); i++ {
		key, value, _ := strings.Cut(lines.Text(), "\t")
		found = append(found, Record{
			Partition: int32(i % partitions),
			Timestamp: int64(firstTimestamp + step*i),
			Key:       []byte(key),
			Value:     []byte(value),
			N:         []byte(strconv.Itoa(i)),
		})
	}
	Check(lines.Err())
	return found
}

// Main runs one command of the table in ../README.md.
func Main(client Client) {
	command, bootstrap, topic, rest := os.Args[1], os.Args[2], os.Args[3], os.Args[4:]
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer out.Flush()
	switch command {
	case "create":
		Check(client.Create(bootstrap, topic, number[int](rest[0])))
	case "write":
		all := records(rest[4], number[int](rest[0]))
		Check(client.Write(bootstrap, topic, all, rest[1], rest[2], rest[3] == "yes"))
	case "read":
		show := func(r Record) {
			fmt.Fprintf(out, "%d\t%d\t%s\t%s\t%s\n", r.Offset, r.Timestamp, r.Key, r.Value, r.N)
		}
		Check(client.Read(bootstrap, topic, number[int32](rest[0]), number[int64](rest[1]), number[int64](rest[2]), show))
	case "at":
		offset, err := client.At(bootstrap, topic, number[int32](rest[0]), number[int64](rest[1]))
		Check(err)
		fmt.Fprintln(out, offset)
	case "ends":
		first, next, err := client.Ends(bootstrap, topic, number[int32](rest[0]))
		Check(err)
		fmt.Fprintln(out, first, next)
	case "write-lines":
		file, err := os.Open(rest[1])
		Check(err)
		Check(client.WriteLines(bootstrap, topic, rest[0], bufio.NewReaderSize(file, 1<<20)))
	case "read-lines":
		show := func(r Record) {
			out.Write(r.Value)
			out.WriteByte('\n')
		}
		Check(client.Read(bootstrap, topic, 0, 0, number[int64](rest[0]), show))
	default:
		Check(fmt.Errorf("cannot %s", command))
	}
}

func number[T int | int32 | int64](text string) T {
	value, err := strconv.ParseInt(text, 10, 64)
	Check(err)
	return T(value)
}

// Check ends the program on an error.
func Check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
