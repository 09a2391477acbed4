//! Pages under `docs/` that are made from tables in the code.

/// Compares a page with what the code says; with `MILENA_WRITE_DOCS=1` writes it instead.
pub fn check(page: &str, contents: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    if std::env::var_os("MILENA_WRITE_DOCS").is_some() {
        std::fs::write(&path, contents).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == contents, "{page} is out of date: run MILENA_WRITE_DOCS=1 cargo test -p milena-broker");
}
