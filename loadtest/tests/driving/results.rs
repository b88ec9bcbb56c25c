//! The page of results, as far as it can be made without a server's own binary.

use crate::harness::run_in;

#[test]
fn what_cannot_be_measured_is_skipped_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = folder.path().join("headgate");
    std::fs::write(&server, "").expect("written");
    let server = server.to_str().expect("a path");
    let told = ["results", "--quick", "--page", "Page.md", "--headgate", server, "--note", "Nobody else was there."];
    let ran = run_in(folder.path(), &[&told[..], &["--only", "ledger,instructions,peers"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let page = std::fs::read_to_string(folder.path().join("Page.md")).expect("a page");
    for expected in ["SKIPPED: the project is not here", "SKIPPED: no peer was named", "Nobody else was there."] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    // A part that is measured again takes the place of what was there, and the others stay.
    let ran = run_in(folder.path(), &["results", "--page", "Page.md", "--headgate", server, "--only", "peers"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let again = std::fs::read_to_string(folder.path().join("Page.md")).expect("a page");
    assert!(again.contains("project is not here") && again.matches("no peer was named").count() == 1, "{again}");
}

#[test]
fn a_server_that_does_not_start_fails_the_parts_that_need_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = ["results", "--quick", "--only", "kueue", "--page", "page.md", "--headgate"];
    let ran = run_in(folder.path(), &[&told[..], &["/bin/false"]].concat());
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("does not listen"), "{}", ran.err);
    let page = std::fs::read_to_string(folder.path().join("page.md")).expect("a page");
    assert!(page.contains("FAILED: `headgate serve --config memory.yaml &` does not listen"), "{page}");
    let ran = run_in(folder.path(), &[&told[..], &["none"]].concat());
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("there is no server at none"), "{}", ran.err);
}
