//! The table of crates in ARCHITECTURE.md: who may use whom, and what nobody of a kind may see.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::source::root;

struct Rule {
    package: &'static str,
    folder: &'static str,
    /// Crates of ours that it may use.
    ours: &'static [&'static str],
    /// Crates of others that it must not see.
    never: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        package: "milena-protocol",
        folder: "broker/protocol",
        ours: &[],
        never: &["tokio", "socket2", "libc"],
    },
    Rule {
        package: "milena-log",
        folder: "broker/log",
        ours: &["milena-protocol"],
        never: &["tokio", "socket2"],
    },
    Rule {
        package: "milena-state",
        folder: "broker/state",
        ours: &["milena-protocol"],
        never: &["tokio", "rand", "tracing", "prometheus", "futures-util", "libc", "uuid"],
    },
    Rule {
        package: "milena-broker",
        folder: "broker",
        ours: &["milena-protocol", "milena-log", "milena-state", "milena-client"],
        never: &["kube", "k8s-openapi"],
    },
    Rule {
        package: "milena-client",
        folder: "client",
        ours: &["milena-protocol"],
        never: &["openraft", "prometheus"],
    },
    Rule { package: "milena-operator", folder: "operator", ours: &["milena-client"], never: &["openraft"] },
    Rule { package: "milena-tests", folder: "tests", ours: &["milena-protocol"], never: &[] },
    Rule { package: "milena-simulation", folder: "tests/simulation", ours: &[], never: &[] },
];

fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// Names of what a package is built from; what its tests use is free.
fn built_from(package: &Value) -> Vec<String> {
    let dependencies = package["dependencies"].as_array().expect("dependencies");
    let shipped = dependencies.iter().filter(|one| one["kind"].as_str() != Some("dev"));
    shipped.map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn crates_use_only_what_the_table_allows() {
    let packages = packages();
    let mut found: BTreeMap<&str, &Value> =
        packages.iter().map(|package| (package["name"].as_str().expect("a name"), package)).collect();
    for rule in RULES {
        let package = found.remove(rule.package).unwrap_or_else(|| panic!("{} is missing", rule.package));
        let manifest = root().join(rule.folder).join("Cargo.toml");
        assert_eq!(package["manifest_path"].as_str(), manifest.to_str(), "place of {}", rule.package);
        for used in built_from(package) {
            let allowed = !used.starts_with("milena-") || rule.ours.contains(&used.as_str());
            assert!(allowed, "{} must not use {used}", rule.package);
            assert!(!rule.never.contains(&used.as_str()), "{} must not see {used}", rule.package);
        }
    }
    assert!(found.is_empty(), "crates that are not in the table: {:?}", found.keys());
}
