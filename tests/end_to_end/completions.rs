//! Shells complete what `saldo` understands.

use std::process::Command;

use tests::worker_process::program;

/// The script for a shell.
fn script(shell: &str) -> String {
    let output = Command::new(program("saldo-under-test")).args(["completions", shell]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a real bash offers for these words, the last of which is being written.
fn offered(words: &str) -> Vec<String> {
    let ask = r#"eval "$1"; COMP_WORDS=($2); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
                 _saldo saldo "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
                 printf '%s\n' "${COMPREPLY[@]}""#;
    let output = Command::new("bash").args(["-euc", ask, "bash", &script("bash"), words]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    assert_eq!(offered("saldo qu"), ["queues"]);
    assert_eq!(offered("saldo topology pub"), ["publisher"]);
    assert_eq!(offered("saldo topology publisher x --merch"), ["--merchant"]);
    assert_eq!(offered("saldo completions pow"), ["powershell"]);
    assert_eq!(offered("saldo dead list --worker dir"), ["directory"]);
    assert_eq!(offered("saldo dead replay --reason idem"), ["idempotency-conflict"]);
    assert_eq!(offered("saldo dead deeds --kind rev"), ["reveal"]);
}

#[test]
fn every_shell_has_its_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(script(shell).contains("doctor"), "{shell}");
    }
}
