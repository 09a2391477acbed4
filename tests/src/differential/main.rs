//! The differential: the same requests to Apache Kafka and to Milena, and the answers compared.
//!
//! ```text
//! differential [--write] [--only SCENARIO] [--every] [--again]
//! ```
//!
//! A difference that the table of `docs/compatibility.md` does not list fails, and so does a listed one that
//! no longer occurs. `--every` also prints the differences that are listed. `--write` writes the figures into that page; without it they must be those of the page.
//! `--again` runs all of it once more after trouble, and only what both runs find counts: a machine that stands still for
//! seconds lets sessions and waits end on one side alone. What the first run found is told.

mod brokers;
mod catalogue;
mod compare;
mod listed;
mod mask;
mod records;
mod run;
mod scenarios;
#[allow(dead_code)] // the generator asks more of the tables than a walk does
#[path = "../../../broker/protocol/build/schema.rs"]
mod schema;
mod script;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use catalogue::Catalogue;
use compare::{Difference, compare};
use run::{Exchange, Runner};
use script::Script;

/// How often everything may run before what is found counts, with `--again`.
const RUNS_MAX: usize = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let told = |option: &str| words.iter().any(|word| word == option);
    let only = words.iter().position(|word| word == "--only").and_then(|at| words.get(at + 1)).cloned();
    let mut scripts = scenarios::all();
    scripts.retain(|script| only.as_ref().is_none_or(|only| script.name.contains(only)));
    let runs = if told("--again") { RUNS_MAX } else { 1 };
    let mut verdict = run_once(&scripts, only.is_none(), &told);
    for run in 2..=runs {
        if verdict.trouble.is_empty() {
            break;
        }
        verdict
            .trouble
            .iter()
            .for_each(|line| println!("told, run {run} will show whether it stays: {line}"));
        let next = run_once(&scripts, only.is_none(), &told);
        verdict.trouble.retain(|line| next.trouble.contains(line));
    }
    for line in &verdict.trouble {
        println!("{line}");
    }
    println!(
        "{} scenarios, {} pairs of answers, {} differences, {} not as listed",
        scripts.len(),
        verdict.pairs,
        verdict.differences,
        verdict.trouble.len()
    );
    if verdict.trouble.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What one run of all scenarios came to.
struct Verdict {
    pairs: usize,
    differences: usize,
    /// One line for each thing that is not as the page says.
    trouble: Vec<String>,
}

fn run_once(scripts: &[Script], whole: bool, told: &dyn Fn(&str) -> bool) -> Verdict {
    let catalogue = Catalogue::read();
    let (kafka, milena) = both(&catalogue, scripts);
    let found = compare(&kafka, &milena);
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../docs/compatibility.md"].iter().collect();
    let page = std::fs::read_to_string(&path).expect("docs/compatibility.md is there");
    if told("--every") {
        found.iter().for_each(|difference| println!("{difference}"));
    }
    let mut trouble = judge(&found, &page, whole);
    if whole {
        trouble.extend(uncovered(&milena));
        let written = listed::with_figures(&page, &figures(scripts, &milena));
        if told("--write") {
            std::fs::write(&path, written).expect("docs/compatibility.md can be written");
        } else if written != page {
            trouble.push("docs/compatibility.md has other figures: differential --write".to_owned());
        }
    }
    Verdict { pairs: milena.len(), differences: found.len(), trouble }
}

/// The answers of both brokers, which run side by side.
fn both(catalogue: &Catalogue, scripts: &[Script]) -> (Vec<Exchange>, Vec<Exchange>) {
    let milena = brokers::milena().expect("Milena starts");
    let kafka = brokers::ApacheKafka::start().expect("Apache Kafka starts");
    std::thread::scope(|scope| {
        let kafka =
            scope.spawn(|| answers("Apache Kafka", Runner::new(catalogue, &kafka.address, true), scripts));
        let milena = answers("Milena", Runner::new(catalogue, &milena.bootstrap(), false), scripts);
        (kafka.join().expect("the other thread ends well"), milena)
    })
}

fn answers(broker: &str, mut runner: Runner<'_>, scripts: &[Script]) -> Vec<Exchange> {
    let mut out = Vec::new();
    for script in scripts {
        let began = Instant::now();
        out.extend(runner.run(script));
        eprintln!("{broker}: {} in {:.1} s", script.name, began.elapsed().as_secs_f32());
    }
    out
}

fn judge(found: &[Difference], page: &str, whole: bool) -> Vec<String> {
    let rows = listed::rows(page);
    let mut used = vec![false; rows.len()];
    let mut trouble = Vec::new();
    for difference in found {
        let covering: Vec<usize> = (0..rows.len()).filter(|index| rows[*index].covers(difference)).collect();
        covering.iter().for_each(|index| used[*index] = true);
        if covering.is_empty() {
            trouble.push(format!("not listed: {difference}"));
        }
    }
    let idle = rows.iter().zip(used).filter(|(_, used)| whole && !used);
    trouble.extend(idle.map(|(row, _)| format!("listed, but no longer there: {row:?}")));
    trouble
}

/// Versions that Milena serves and no scenario asks for.
fn uncovered(milena: &[Exchange]) -> Vec<String> {
    let asked: BTreeSet<(i16, i16)> =
        milena.iter().filter_map(|exchange| Some((exchange.api?.as_i16(), exchange.version))).collect();
    let served = milena
        .iter()
        .find_map(|exchange| exchange.answer["ApiKeys"].as_array().filter(|keys| keys.len() > 5));
    let served = served.expect("a scenario asks for ApiVersions");
    let number = |value: &serde_json::Value| value.as_i64().unwrap_or(-1) as i16;
    let mut out = Vec::new();
    for row in served {
        let key = number(&row["ApiKey"]);
        // Apache Kafka names Produce 0 to 2 and serves from 3.
        let first = if key == 0 { 3 } else { number(&row["MinVersion"]) };
        let missing =
            (first..=number(&row["MaxVersion"])).filter(|version| !asked.contains(&(key, *version)));
        out.extend(missing.map(|version| format!("no scenario asks for API {key} in version {version}")));
    }
    out
}

/// Only what two runs have in common: how many differences there are depends on who was faster.
fn figures(scripts: &[Script], exchanges: &[Exchange]) -> String {
    let mut out = format!(
        "{} scenarios, {} pairs of requests and answers.\n\n\
         | API | pairs | versions |\n|---|---|---|\n",
        scripts.len(),
        exchanges.len()
    );
    let mut by_api: BTreeMap<_, (usize, BTreeSet<i16>)> = BTreeMap::new();
    for exchange in exchanges {
        let Some(api) = exchange.api else { continue };
        let row = by_api.entry(api).or_default();
        row.0 += 1;
        row.1.insert(exchange.version);
    }
    for (api, (pairs, versions)) in by_api {
        let (first, last) = (versions.first().unwrap_or(&0), versions.last().unwrap_or(&0));
        let _ = writeln!(out, "| {api} | {pairs} | {first}–{last} |");
    }
    out
}
