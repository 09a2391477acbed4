#!/usr/bin/env python3
"""Puts a switch into the rules of a copy of `broker/state`, one for each rule that can be left out.

    apply.py STATE          STATE is the copy; never the crate itself
    apply.py --names        prints the names of the mutants
    apply.py --check STATE  changes nothing, and says whether each rule stands where this table has it

`MILENA_MUTANT=NAME` then leaves out that rule. A line that is not found once is an error: the rule has moved, and this
table has to follow.
"""

import pathlib
import sys

SWITCH = """//! Which rule is left out.

use std::sync::OnceLock;

pub fn is(name: &str) -> bool {
    static MUTANT: OnceLock<String> = OnceLock::new();
    MUTANT.get_or_init(|| std::env::var("MILENA_MUTANT").unwrap_or_default()) == name
}
"""


def on(name):
    return f'crate::mutant::is("{name}")'


# Name, file, the line as it stands, and what it becomes.
MUTANTS = [
    # A follower joins the ISR below the start of the leader epoch.
    ("no-epoch-start", "partition/leader.rs",
     "end < self.epoch_start_offset {",
     f"(end < self.epoch_start_offset && !{on('no-epoch-start')}) {{"),
    # ... and below the high watermark.
    ("no-watermark-to-join", "partition/leader.rs",
     "if !follower.is_eligible() || end < self.high_watermark ||",
     f"if !follower.is_eligible() || (end < self.high_watermark && !{on('no-watermark-to-join')}) ||"),
    # A member of the ISR that did not fetch in this leader epoch counts as having everything.
    ("no-fetch-in-epoch", "partition/leader.rs",
     ".map(|f| f.log_end_offset.unwrap_or(self.high_watermark))",
     f".map(|f| f.log_end_offset.unwrap_or(if {on('no-fetch-in-epoch')} "
     "{ self.log_end_offset } else { self.high_watermark }))"),
    ("watermark-under-min-isr", "partition/leader.rs",
     "        if self.is_under_min_isr() {\n            return None;",
     f"        if self.is_under_min_isr() && !{on('watermark-under-min-isr')} {{\n            return None;"),
    ("unsynced-counts", "partition/leader.rs",
     "let own = if self.rules.durable {",
     f"let own = if self.rules.durable && !{on('unsynced-counts')} {{"),
    # After a timeout the leader believes that nothing changed.
    ("unknown-outcome-withdraws", "partition/leader.rs",
     "            Err(_) => return Effects { propose_isr",
     f"            Err(_) if {on('unknown-outcome-withdraws')} => self.isr.withdraw(),\n"
     "            Err(_) => return Effects { propose_isr"),
    # No maximal ISR: the committed one alone, or the proposed one alone.
    ("proposal-not-waited-for", "partition/isr.rs",
     "let proposed = self.proposed.iter().flat_map(",
     f"let hides = {on('proposal-not-waited-for')};\n"
     "        let proposed = self.proposed.iter().filter(move |_| !hides).flat_map("),
    ("proposal-taken-at-once", "partition/isr.rs",
     "self.committed.iter().chain(added).copied()",
     f"let eager = {on('proposal-taken-at-once')} && self.proposed.is_some();\n"
     "        let alone = self.proposed.iter().flat_map(|proposed| proposed.new_isr.iter().map(|(id, _)| id));\n"
     "        let committed = self.committed.iter().filter(move |_| !eager);\n"
     "        committed.chain(alone.filter(move |_| eager)).chain(added.filter(move |_| !eager)).copied()"),
    ("fenced-last-known", "metadata/partition_change.rs",
     "(self.acceptable)(*leader).then_some(*leader)",
     f"((self.acceptable)(*leader) || {on('fenced-last-known')}).then_some(*leader)"),
    ("eligible-after-crash", "metadata/partition_change.rs",
     "                && self.unclean_shutdown != Some(*id)\n",
     f"                && (self.unclean_shutdown != Some(*id) || {on('eligible-after-crash')})\n"),
    ("broker-epoch-not-checked", "metadata/partitions.rs",
     "*epoch == b.broker_epoch)",
     f"*epoch == b.broker_epoch || {on('broker-epoch-not-checked')})"),
    ("fenced-may-join", "metadata/partitions.rs",
     "b.is_active() && (*epoch",
     f"(b.is_active() || {on('fenced-may-join')}) && (*epoch"),
    ("partition-epoch-not-checked", "metadata/partitions.rs",
     "if proposal.partition_epoch < partition.partition_epoch {",
     f"if proposal.partition_epoch < partition.partition_epoch && !{on('partition-epoch-not-checked')} {{"),
    ("crash-is-clean", "metadata/brokers.rs",
     "|broker| command.previous_broker_epoch != broker.broker_epoch);",
     f"|broker| command.previous_broker_epoch != broker.broker_epoch && !{on('crash-is-clean')});"),
    # KIP-279.
    ("no-smaller-end", "partition/follower.rs",
     "let offset = our_end.min(diverging.end_offset);",
     f"let offset = if {on('no-smaller-end')} {{ diverging.end_offset.min(log_end_offset) }} "
     "else { our_end.min(diverging.end_offset) };"),
    # KIP-207.
    ("offsets-always-available", "partition/reads.rs",
     "        self.check_available_to(isolation)?;\n        Ok(self.visible_end",
     f"        if !{on('offsets-always-available')} {{\n            self.check_available_to(isolation)?;\n        }}\n"
     "        Ok(self.visible_end"),
]


def main():
    if sys.argv[1:] == ["--names"]:
        print("\n".join(name for name, *_ in MUTANTS))
        return
    only_look = sys.argv[1] == "--check"
    source = pathlib.Path(sys.argv[2 if only_look else 1]) / "src"
    if not only_look:
        (source / "mutant.rs").write_text(SWITCH)
    changes = [("", "lib.rs", "pub mod partition;", "pub mod mutant;\npub mod partition;"), *MUTANTS]
    for name, file, before, after in changes:
        path = source / file
        text = path.read_text()
        if text.count(before) != 1:
            sys.exit(f"{name}: {path} has {text.count(before)} times instead of once: {before!r}")
        if not only_look:
            path.write_text(text.replace(before, after))


main()
