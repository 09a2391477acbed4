//! `milena man FOLDER`: the manual pages, from the same tree as the command line itself.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::{examples, output};

/// Commands that users run.
const SECTION: &str = "1";

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder to write into, such as /usr/local/share/man/man1; it is made if need be
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

const EXIT_CODES: [(&str, &str); 5] = [
    ("0", "Done; also when the reader of our output went away, as in \"| head\"."),
    ("1", "Failed: the cluster said no, nobody answers, a file is damaged."),
    ("2", "Wrong usage."),
    ("130", "Interrupted with Ctrl-C."),
    ("143", "Interrupted with SIGTERM."),
];

pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
    let pages = pages();
    for (name, page) in &pages {
        let path = folder.join(name);
        std::fs::write(&path, page).map_err(|error| Error::file(&path, error))?;
    }
    output::line(&format!("{} pages written into {}", pages.len(), Path::display(folder)))
}

/// Names of files and what is in them.
fn pages() -> Vec<(String, String)> {
    let mut root = Cli::command().disable_help_subcommand(true);
    // Fills in full names and the options that all commands have.
    root.build();
    let mut pages = Vec::new();
    add(&root, "", None, &mut pages);
    pages
}

fn add(command: &Command, path: &str, above: Option<&str>, pages: &mut Vec<(String, String)>) {
    let title = ["milena", path].join(" ").trim_end().replace(' ', "-");
    for inner in command.get_subcommands() {
        let path = format!("{path} {}", inner.get_name());
        add(inner, path.trim_start(), Some(&title), pages);
    }
    let page = page(command, &title, path, above);
    pages.push((format!("{title}.{SECTION}"), page));
}

fn page(command: &Command, title: &str, path: &str, above: Option<&str>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let man = Man::new(command.clone());
    let below = command.get_subcommands().map(|inner| format!("{title}-{}", inner.get_name()));
    let others: Vec<String> = above.map(str::to_owned).into_iter().chain(below).collect();
    // Written by hand, because the library leaves out a date that is empty, and what follows would be taken for it.
    let title = format!(".TH {title} {SECTION} \"\" \"milena {version}\" Milena\n");
    let mut page = title.into_bytes();
    render(&man, command, examples::of(path), &others, &mut page).expect("memory takes everything");
    String::from_utf8(page).expect("the tree is text")
}

fn render(
    man: &Man,
    command: &Command,
    examples: &[&str],
    others: &[String],
    page: &mut Vec<u8>,
) -> std::io::Result<()> {
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    if let Some(notes) = command.get_after_help() {
        let mut section = Roff::new();
        section.control("SH", ["NOTES"]);
        for paragraph in notes.to_string().split("\n\n") {
            section.text([roman(paragraph)]).control("PP", []);
        }
        section.to_writer(page)?;
    }
    if !examples.is_empty() {
        verbatim(examples).to_writer(page)?;
    }
    exit_codes().to_writer(page)?;
    see_also(others).to_writer(page)
}

fn verbatim(lines: &[&str]) -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in lines {
        section.text([roman(*line)]);
    }
    section.control("fi", []);
    section
}

fn exit_codes() -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        section.control("TP", []).text([bold(code)]).text([roman(meaning)]);
    }
    section
}

fn see_also(others: &[String]) -> Roff {
    let own = others.iter().map(|title| (title.as_str(), SECTION));
    let mut section = Roff::new();
    section.control("SH", ["SEE ALSO"]);
    for (title, number) in own.chain([("milena-broker", "8")]) {
        section.text([bold(title), roman(format!("({number})"))]);
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_command_its_options_and_examples() {
        let pages = pages();
        let page = |name: &str| &pages.iter().find(|(found, _)| found == name).expect(name).1;
        let create = page("milena-topic-create.1");
        for part in [
            ".TH milena-topic-create 1 \"\"",
            ".SH OPTIONS",
            "partitions",
            "milena topic create orders",
            ".SH \"SEE ALSO\"",
        ] {
            assert!(create.contains(part), "{part}: {create}");
        }
        let root = page("milena.1");
        assert!(root.contains("milena\\-bench") && root.contains("\\fBmilena\\-broker\\fR(8)"), "{root}");
    }
}
