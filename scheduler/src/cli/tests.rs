//! The command line as it is typed.

use std::ffi::OsString;

use super::{Cli, USAGE, parse};

fn parsed(line: &str) -> Result<Cli, clap::Error> {
    let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    parse(&args)
}

#[test]
fn the_command_line_is_well_formed() {
    super::command(None).debug_assert();
}

#[test]
fn what_is_typed_is_understood_or_refused() {
    for (line, understood) in [
        ("headgate acquire --tenant acme/ml --cpu 2 --memory 4Gi", true),
        ("headgate acquire -t acme/ml --resource nvidia.com/gpu=1 --resource jobs=1 --wait -o json", true),
        ("headgate acquire -t acme --wait=10m", true),
        ("headgate acquire -t acme --wait=soon", false),
        ("headgate acquire -t acme --wait --no-wait", false),
        ("headgate acquire -t acme --now", true),
        ("headgate acquire --cpu 2", false),
        ("headgate acquire -t acme --count 0", false),
        ("headgate acquire -t acme --priority -5", true),
        ("headgate acquire -t acme --resource cpu", false),
        ("headgate acquire -t acme --label run=42 --label empty=", true),
        ("headgate --server http://10.0.0.1:7070 check -t acme", true),
        ("headgate check -t acme --server http://10.0.0.1:7070", true),
        ("headgate check -t acme -o yaml", false),
        ("headgate confirm a b", true),
        ("headgate confirm --holder runner", true),
        ("headgate confirm a --holder runner", false),
        ("headgate confirm", false),
        ("headgate renew a --holder runner", true),
        ("headgate resize a --cpu 4", true),
        ("headgate release --holder runner", true),
        ("headgate cancel a --cert x", false),
        ("headgate test a.yaml b.yaml -o json", true),
        ("headgate test", false),
        ("headgate config check headgate.yaml", true),
        ("headgate config schema", true),
        ("headgate completions zsh", true),
        ("headgate man --dir out", true),
        ("headgate", false),
    ] {
        let result = parsed(line);
        assert_eq!(result.is_ok(), understood, "{line}: {:?}", result.err().map(|error| error.to_string()));
    }
    assert_eq!(parsed("headgate").err().map(|error| error.exit_code()), Some(i32::from(USAGE)));
}

#[test]
fn a_plugin_of_kubectl_says_so() {
    for (called, shown) in [("/usr/bin/kubectl-headgate", "kubectl headgate"), ("headgate", "headgate")] {
        let error = parse(&[called.into(), "acquire".into(), "--help".into()]).expect_err("help");
        assert!(error.to_string().contains(&format!("Usage: {shown} acquire")), "{error}");
    }
}
