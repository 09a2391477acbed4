//! The table of `docs/compatibility.md`: differences that somebody decided upon.

use crate::compare::Difference;

pub const BEGIN: &str = "<!-- written by the differential: begin -->";
pub const END: &str = "<!-- written by the differential: end -->";

/// A row; `*` in a cell stands for any text.
#[derive(Debug, PartialEq)]
pub struct Row {
    pub case: String,
    pub field: String,
    pub kafka: String,
    pub milena: String,
}

/// The rows of the table whose head is `| case | field | …`.
pub fn rows(page: &str) -> Vec<Row> {
    let mut lines = page.lines().skip_while(|line| !line.starts_with("| case | field |")).skip(2);
    let mut out = Vec::new();
    for line in lines.by_ref().take_while(|line| line.starts_with('|')) {
        let line = line.replace("\\|", "\u{1}");
        let cells: Vec<String> =
            line.split('|').map(|cell| cell.trim().trim_matches('`').replace('\u{1}', "|")).collect();
        assert!(cells.len() >= 7 && !cells[5].is_empty(), "a row of the table lacks its reason: {line}");
        let [case, field, kafka, milena] = [1, 2, 3, 4].map(|index| cells[index].clone());
        out.push(Row { case, field, kafka, milena });
    }
    out
}

impl Row {
    pub fn covers(&self, found: &Difference) -> bool {
        let cells = [
            (&self.case, &found.case),
            (&self.field, &found.field),
            (&self.kafka, &found.kafka),
            (&self.milena, &found.milena),
        ];
        cells.iter().all(|(pattern, text)| matches(pattern, text))
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(first) else { return false };
    rest.is_empty()
        || (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
}

/// The page with its generated part replaced.
pub fn with_figures(page: &str, figures: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).expect("the page has a generated part");
    let (_, after) = rest.split_once(END).expect("the generated part has an end");
    format!("{before}{BEGIN}\n{figures}{END}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# x\n\n| case | field | Apache Kafka | Milena | reason |\n|---|---|---|---|---|\n\
                        | `topics: *` | `Metadata.*` | `3` | `*` | a \\| b |\n\nend\n";

    fn difference(case: &str, kafka: &str) -> Difference {
        Difference {
            case: case.into(),
            field: "Metadata.Topics".into(),
            kafka: kafka.into(),
            milena: "5".into(),
            versions: vec![1],
        }
    }

    #[test]
    fn row_covers_what_it_names_and_nothing_else() {
        let rows = rows(PAGE);
        assert_eq!(rows.len(), 1);
        assert!(rows[0].covers(&difference("topics: unknown", "3")));
        assert!(!rows[0].covers(&difference("topics: unknown", "4")));
        assert!(!rows[0].covers(&difference("data: unknown", "3")));
    }

    #[test]
    #[should_panic(expected = "lacks its reason")]
    fn row_without_a_reason_is_refused() {
        rows(
            "| case | field | Apache Kafka | Milena | reason |\n|---|---|---|---|---|\n| a | b | c | d |  |\n",
        );
    }

    #[test]
    fn figures_take_the_place_of_the_old_ones() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(with_figures(&page, "new\n"), format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
    }
}
