//! Pages that are made from tables in the code are those that the code makes now.
//!
//! `MILENA_WRITE_DOCS=1 cargo test -p milena-tests --test tidy generated` (or `just docs`) writes them anew.

use crate::source::root;

fn check(page: &str, contents: &str) {
    let path = root().join(page);
    if std::env::var_os("MILENA_WRITE_DOCS").is_some() {
        std::fs::write(&path, contents).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = || found.lines().zip(contents.lines()).find(|(there, made)| there != made);
    assert!(found == contents, "{page} is out of date (just docs); first difference: {:?}", differs());
}

#[test]
fn generated_config_page() {
    check("docs/config.md", &milena_state::config::page::render());
}

#[test]
fn generated_apis_page() {
    check("docs/apis.md", &milena_broker::api::reference());
}

#[test]
fn generated_metrics_page() {
    check("docs/metrics.md", &milena_broker::metrics::definitions::reference());
}
