//! Parts of long lists: `?search=…&after=…&limit=…`.

use serde::Serialize;

use super::answer::Refused;

/// Entries of a page when the request does not say, and at most.
pub const LIMIT_DEFAULT: usize = 50;
pub const LIMIT_MAX: usize = 500;

/// The parameters of a query. The last of a name counts, unknown ones do not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Text that names must contain; case does not count.
    pub search: String,
    /// The entry before the page, as the page before said in `next`.
    pub after: Option<String>,
    pub limit: usize,
    /// What one thing is asked for: the name of a topic or the id of a group.
    pub name: Option<String>,
    /// Whether Kafka's own topics are listed.
    pub internal: bool,
}

/// One page of a list.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The last entry, when there are more behind it: the `after` of the next page.
    pub next: Option<String>,
    /// Entries on all pages.
    pub total: usize,
}

impl Query {
    pub fn parse(text: Option<&str>) -> Result<Self, Refused> {
        let mut query = Self { limit: LIMIT_DEFAULT, ..Self::default() };
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            match &*name {
                "search" => query.search = value.to_lowercase(),
                "after" => query.after = Some(value.into_owned()),
                "name" => query.name = Some(value.into_owned()),
                "internal" => query.internal = value == "true",
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                    let refused = || Refused::bad_request(format!("limit must be from 1 to {LIMIT_MAX}"));
                    query.limit = limit.ok_or_else(refused)?;
                }
                _ => {}
            }
        }
        Ok(query)
    }

    pub fn name(&self) -> Result<&str, Refused> {
        self.name.as_deref().ok_or_else(|| Refused::bad_request("name is missing"))
    }

    pub fn matches(&self, name: &str) -> bool {
        self.search.is_empty() || name.to_lowercase().contains(&self.search)
    }

    /// The page of `entries`, which are in the order of their keys and all match.
    pub fn page<T>(
        &self,
        entries: impl Iterator<Item = T>,
        is_after: impl Fn(&T) -> bool,
        key: impl Fn(&T) -> String,
    ) -> Page<T> {
        let mut page = Page { items: Vec::new(), next: None, total: 0 };
        let mut has_more = false;
        for entry in entries {
            page.total += 1;
            if self.after.is_some() && !is_after(&entry) {
                continue;
            }
            if page.items.len() < self.limit {
                page.items.push(entry);
            } else {
                has_more = true;
            }
        }
        page.next = page.items.last().filter(|_| has_more).map(key);
        page
    }
}

impl<T> Page<T> {
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(make).collect(), next: self.next, total: self.total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_to_the_whole_list() {
        let names = ["a", "b", "c", "d", "e"];
        let mut query = Query { limit: 2, ..Query::default() };
        let mut all = Vec::new();
        loop {
            let after = query.after.clone().unwrap_or_default();
            let page = query.page(names.into_iter(), |name| **name > *after, |name| (*name).to_owned());
            assert_eq!(page.total, 5);
            all.extend(page.items);
            let Some(next) = page.next else { break };
            query.after = Some(next);
        }
        assert_eq!(all, names);
    }

    #[test]
    fn queries_are_read_as_browsers_write_them() {
        let query = Query::parse(Some("search=A%20b&after=%3Cb%3E&limit=7&name=a%2Fb+c&x=1&internal=true"));
        let expected = Query {
            search: "a b".to_owned(),
            after: Some("<b>".to_owned()),
            limit: 7,
            name: Some("a/b c".to_owned()),
            internal: true,
        };
        assert_eq!(query, Ok(expected));
        for limit in ["0", "501", "-1", "x", ""] {
            assert!(Query::parse(Some(&format!("limit={limit}"))).is_err(), "{limit}");
        }
        assert_eq!(Query::parse(None).map(|query| query.limit), Ok(LIMIT_DEFAULT));
    }
}
