//! What failed: counted by reason.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::error::{Error, Result};

/// Reasons that are told apart; what comes beyond is counted together.
const REASONS_MAX: usize = 10;

#[derive(Debug, Default)]
pub struct Failures {
    by_reason: BTreeMap<String, u64>,
    others: u64,
}

impl Failures {
    pub fn add(&mut self, reason: &str) {
        if let Some(count) = self.by_reason.get_mut(reason) {
            *count += 1;
        } else if self.by_reason.len() < REASONS_MAX {
            self.by_reason.insert(reason.to_owned(), 1);
        } else {
            self.others += 1;
        }
    }

    pub fn count(&self) -> u64 {
        self.by_reason.values().sum::<u64>() + self.others
    }

    pub fn json(&self) -> Vec<Value> {
        self.all().map(|(reason, count)| json!({ "reason": reason, "records": count })).collect()
    }

    /// Errors: that there are failures, and which.
    pub fn check(&self) -> Result<()> {
        match self.count() {
            0 => Ok(()),
            count => {
                let reasons = self.all().map(|(reason, count)| format!("\n       {count} × {reason}"));
                let message = format!("{count} records failed:{}", reasons.collect::<String>());
                Err(Error::Failed { message, hint: None })
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = (&str, u64)> {
        let others = (self.others > 0).then_some(("other reasons", self.others));
        self.by_reason.iter().map(|(reason, count)| (&**reason, *count)).chain(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_bounded() {
        let mut failures = Failures::default();
        assert!(failures.check().is_ok());
        for number in 0..20 {
            failures.add(&format!("reason {:02}", number % 15));
        }
        assert_eq!(failures.count(), 20);
        let said = failures.check().expect_err("some failed").to_string();
        assert!(said.starts_with("20 records failed:\n       2 × reason 00\n"), "{said}");
        assert!(said.ends_with("5 × other reasons"), "{said}");
        assert_eq!(failures.json().len(), REASONS_MAX + 1);
    }
}
