use crate::fixture::Fixture;

#[test]
fn every_shell_completes_every_subcommand() {
    let fixture = Fixture::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = fixture.tamiz(&["completions", shell]).ok();
        for name in ["rules", "dead-letter", "explain", "publish", "tail", "topics", "assets"] {
            assert!(script.contains(name), "{shell} does not complete {name}");
        }
    }
    assert_eq!(fixture.tamiz(&["completions", "cmd"]).code, Some(2));
}
