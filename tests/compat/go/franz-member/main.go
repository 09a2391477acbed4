// Command franz-member is franz-go as a member of a group: see `member` in ../../README.md.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"milena.dev/compat/common"
)

var assignors = map[string]kgo.GroupBalancer{
	"range":              kgo.RangeBalancer(),
	"cooperative-sticky": kgo.CooperativeStickyBalancer(),
}

func trace(what string, words []string) {
	fmt.Printf("%d\t%s\t%s\n", time.Now().UnixMicro(), what, strings.Join(words, " "))
}

func tracePartitions(what string) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		var words []string
		for topic, indexes := range partitions {
			for _, index := range indexes {
				words = append(words, fmt.Sprintf("%s:%d", topic, index))
			}
		}
		trace(what, words)
	}
}

func options(words []string) []kgo.Opt {
	options := []kgo.Opt{
		kgo.SeedBrokers(words[0]),
		kgo.ConsumerGroup(words[1]),
		kgo.ConsumeTopics(words[2]),
		kgo.Balancers(assignors[words[3]]),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		// A rebalance waits until what was polled is committed.
		kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.MetadataMaxAge(time.Second),
		kgo.MetadataMinAge(500 * time.Millisecond),
		kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(tracePartitions("assigned")),
		kgo.OnPartitionsRevoked(tracePartitions("revoked")),
		kgo.OnPartitionsLost(tracePartitions("revoked")),
	}
	if strings.HasPrefix(words[2], "^") {
		options = append(options, kgo.ConsumeRegex())
	}
	if words[4] != "-" {
		// A static member must be back within it, however slow the machine is.
		options = append(options, kgo.InstanceID(words[4]), kgo.SessionTimeout(30*time.Second))
	}
	return options
}

func main() {
	client, err := kgo.NewClient(options(os.Args[1:])...)
	common.Check(err)
	ctx, end := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		end()
	}()
	for ctx.Err() == nil {
		fetches := client.PollRecords(ctx, 50)
		var records []*kgo.Record
		next := map[string]int64{}
		fetches.EachRecord(func(r *kgo.Record) {
			partition := fmt.Sprintf("%s:%d", r.Topic, r.Partition)
			trace("record", []string{fmt.Sprintf("%s:%d", partition, r.Offset)})
			records = append(records, r)
			next[partition] = r.Offset + 1
		})
		if len(records) > 0 {
			if err := client.CommitRecords(context.Background(), records...); err != nil {
				// The group has moved on; whoever owns the partition now reads these records again.
				trace("refused", []string{strings.ReplaceAll(err.Error(), " ", "_")})
			} else {
				var words []string
				for partition, offset := range next {
					words = append(words, fmt.Sprintf("%s:%d", partition, offset))
				}
				trace("committed", words)
			}
		}
		client.AllowRebalance()
	}
	client.CloseAllowingRebalance()
}
