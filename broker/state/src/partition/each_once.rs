//! Partitions that a request names, each of them once.

use std::collections::BTreeMap;

/// One partition of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked<'a, T> {
    pub partition: &'a T,
    /// It stands there more than once, so nobody knows which of the questions was meant.
    pub is_repeated: bool,
}

/// The topics that have partitions, each once, with their partitions, each once, in the order in which they were
/// first named.
pub fn each_once<'a, T>(
    topics: impl Iterator<Item = (&'a str, &'a [T])>,
    index_of: impl Fn(&T) -> i32,
) -> Vec<(&'a str, Vec<Asked<'a, T>>)> {
    let mut out: Vec<(&str, Vec<Asked<'a, T>>)> = Vec::new();
    let mut topic_places = BTreeMap::new();
    let mut places = BTreeMap::new();
    for (topic, partitions) in topics.filter(|(_, partitions)| !partitions.is_empty()) {
        let at = *topic_places.entry(topic).or_insert_with(|| {
            out.push((topic, Vec::new()));
            out.len() - 1
        });
        for partition in partitions {
            let asked = &mut out[at].1;
            match places.get(&(at, index_of(partition))) {
                Some(place) => asked[*place as usize].is_repeated = true,
                None => {
                    places.insert((at, index_of(partition)), asked.len() as u32);
                    asked.push(Asked { partition, is_repeated: false });
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_that_stands_twice_comes_once_and_says_so() {
        let topics: [(&str, &[i32]); 4] = [("b", &[3, 1]), ("a", &[1]), ("c", &[]), ("b", &[2, 3, 3])];
        let found = each_once(topics.into_iter(), |index| *index);
        let told: Vec<_> = found
            .iter()
            .map(|(topic, asked)| {
                (*topic, asked.iter().map(|one| (*one.partition, one.is_repeated)).collect::<Vec<_>>())
            })
            .collect();
        let expected = [("b", vec![(3, true), (1, false), (2, false)]), ("a", vec![(1, false)])];
        assert_eq!(told, expected);
    }
}
