//! Claims about all of `--help`.

use clap::{Command, CommandFactory as _};

use crate::Arguments;

/// All commands that do something, with their names from `saldo` on.
fn leaves() -> Vec<(String, Command)> {
    fn below(name: &str, command: &Command, leaves: &mut Vec<(String, Command)>) {
        if !command.has_subcommands() || command.is_args_conflicts_with_subcommands_set() {
            leaves.push((name.to_owned(), command.clone()));
        }
        for command in command.get_subcommands() {
            below(&format!("{name} {}", command.get_name()), command, leaves);
        }
    }
    let mut leaves = Vec::new();
    below("saldo", &Arguments::command(), &mut leaves);
    leaves
}

#[test]
fn the_arguments_do_not_contradict_each_other() {
    Arguments::command().debug_assert();
}

#[test]
fn every_command_says_what_it_is_for_and_gives_an_example() {
    for (name, command) in leaves() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.len() > 10 && !about.ends_with('.'), "{name}: {about:?}");
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains(&name), "{name}: no example in {help:?}");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{name}: nothing is said of {}", argument.get_id());
        }
    }
}

/// The part of a line that a shell hands to `saldo`, word by word.
fn words(line: &str) -> Option<Vec<String>> {
    let starts = |at: usize| line[..at].ends_with([' ', '(']);
    let after = line.match_indices("saldo ").find(|(at, _)| starts(*at)).map(|(at, _)| &line[at..])?;
    let ends = [" | ", " >", " && ", " || ", " #"].into_iter().filter_map(|end| after.find(end));
    let command = after[..ends.min().unwrap_or(after.len())].trim_end_matches(')');
    // Ids are long; in examples they are shortened.
    let whole = |word: &str| match word.split_once('…') {
        Some((start, "")) => format!("{start:0<32}"),
        _ => word.to_owned(),
    };
    // What stands between quotes, every other part, is one word.
    let parts = command.split('\'').enumerate();
    let words = parts.flat_map(|(number, part)| match number % 2 {
        0 => part.split_whitespace().map(whole).collect(),
        _ => vec![part.to_owned()],
    });
    Some(words.collect())
}

#[test]
fn every_example_is_accepted() {
    let mut tried = 0;
    for (name, command) in leaves() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().filter(|line| line.starts_with("  ")) {
            let Some(words) = words(line) else { continue };
            if let Err(error) = Arguments::command().try_get_matches_from(&words) {
                panic!("{name}: {line}: {error}");
            }
            tried += 1;
        }
    }
    assert!(tried >= leaves().len(), "{tried}");
}

#[test]
fn wrong_usage_has_status_2_and_asking_for_help_0() {
    let status = |words: &[&str]| match Arguments::command().try_get_matches_from(words) {
        Ok(_) => 0,
        Err(error) => error.exit_code(),
    };
    for wrong in
        [&["saldo"][..], &["saldo", "qu"], &["saldo", "balance"], &["saldo", "topology", "publisher", "x"]]
    {
        assert_eq!(status(wrong), 2, "{wrong:?}");
    }
    for right in
        [&["saldo", "--help"][..], &["saldo", "--version"], &["saldo", "topology", "publisher", "--help"]]
    {
        assert_eq!(status(right), 0, "{right:?}");
    }
}

/// Of the texts that clap's own parsers of numbers have.
#[test]
fn a_number_that_is_none_is_told_what_would_be_accepted() {
    let mut tried = 0;
    for (name, command) in leaves() {
        let options = command.get_arguments().filter(|argument| !argument.is_positional());
        let numbers = options.filter(|option| {
            let names = option.get_value_names().unwrap_or_default();
            names.iter().any(|name| ["N", "SECONDS"].contains(&name.as_str()))
        });
        for option in numbers {
            let option = format!("--{}", option.get_long().unwrap());
            for value in ["0", "banana"] {
                let words = name.split(' ').chain([option.as_str(), value]);
                let error = Arguments::command().try_get_matches_from(words).unwrap_err();
                assert_eq!(error.exit_code(), 2, "{name} {option}");
                assert!(
                    error.to_string().contains("expected a whole number from 1 to "),
                    "{name} {option}: {error}"
                );
                tried += 1;
            }
        }
    }
    assert!(tried >= 16, "{tried}");
}
