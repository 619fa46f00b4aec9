use crate::fixture::{Fixture, rules_for};
use serde_json::json;

const CASES: &str = "[[case]]\nname = \"known\"\nrule = \"KNOWN\"\nfacts = { \"session.session_id\" = \"s-1\" }\n\
                     expect = \"fires\"\n[[case]]\nname = \"another\"\nrule = \"KNOWN\"\n\
                     facts = { \"session.session_id\" = \"s-2\" }\nexpect = \"silent\"\n";

fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.write("good.toml", rules_for("good", "s-1"));
    fixture.write("good.cases.toml", CASES);
    fixture.write("bad.toml", rules_for("bad", "s-1").replace("session.session_id", "session.sesion_id"));
    fixture
}

#[test]
fn check_tells_every_mistake_with_its_place() {
    let fixture = fixture();
    let out = fixture.tamiz(&["rules", "check", "good.toml", "good.cases.toml"]).ok();
    assert!(out.contains("good.toml: ok, 1 rule of \"good\", sha256:"), "{out}");
    assert!(out.contains("good.cases.toml: ok, 2 cases"), "{out}");

    let (out, err) = fixture.tamiz(&["rules", "check", "good.toml", "bad.toml"]).failed();
    let place = "bad.toml:4:9: unknown name";
    assert!(out.contains(place) && out.contains("did you mean `session.session_id`?"), "{out}");
    assert!(err.contains("1 mistake in 2 files"), "{err}");

    let answer = fixture.tamiz(&["rules", "check", "bad.toml", "--json"]);
    let (out, _) = answer.failed();
    let json: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(json["files"], json!(["bad.toml"]));
    assert_eq!((&json["mistakes"][0]["line"], &json["mistakes"][0]["column"]), (&json!(4), &json!(9)));

    fixture.write("good.cases.toml", CASES.replace("KNOWN", "KNOW"));
    let (out, _) = fixture.tamiz(&["rules", "check", "good.cases.toml"]).failed();
    assert!(out.contains("good.cases.toml:3:8: unknown rule `KNOW`; did you mean `KNOWN`?"), "{out}");
    let (_, err) = fixture.tamiz(&["rules", "check", "none.toml"]).failed();
    assert!(err.contains("cannot read the rule set from none.toml"), "{err}");
    assert_eq!(fixture.tamiz(&["rules", "check"]).code, Some(2), "a command without its file is misused");
}

#[test]
fn test_fails_where_a_case_fails_or_is_missing() {
    let fixture = fixture();
    let out = fixture.tamiz(&["rules", "test", "good.toml"]).ok();
    assert!(
        out.contains("ok  KNOWN  known") && out.contains("2 cases of 1 rule: 0 failed, 0 without a case"),
        "{out}"
    );

    fixture.write("wrong.cases.toml", CASES.replace("\"s-2\"", "\"s-1\""));
    let (out, err) =
        fixture.tamiz(&["rules", "test", "good.toml", "--cases", "wrong.cases.toml", "-q"]).failed();
    assert!(out.contains("wrong.cases.toml:6: expected silent, got fires"), "{out}");
    assert!(out.contains("FAILED  KNOWN  no passing case in which it stays silent"), "{out}");
    assert!(!out.contains("  known"), "{out}");
    assert!(err.contains("good.toml has not passed its cases"), "{err}");

    let firing = CASES.split("[[case]]\nname = \"another\"").next().expect("the first part");
    fixture.write("half.cases.toml", firing);
    let (out, _) =
        fixture.tamiz(&["rules", "test", "good.toml", "--cases", "half.cases.toml", "--json"]).failed();
    let json: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!((&json["passed"], &json["rules_never_silent"]), (&json!(false), &json!(["KNOWN"])));
    assert_eq!(json["cases"][0]["failure"], json!(null));

    let (_, err) = fixture.tamiz(&["rules", "test", "bad.toml"]).failed();
    assert!(err.contains("bad.toml has 1 mistake:\nbad.toml:4:9"), "{err}");
    fixture.write("lonely.toml", rules_for("lonely", "s-1"));
    let (_, err) = fixture.tamiz(&["rules", "test", "lonely.toml"]).failed();
    assert!(err.contains("no cases in lonely.cases.toml; name their file with --cases"), "{err}");
}

#[test]
fn list_shows_the_built_in_rules_and_those_of_a_file() {
    let fixture = fixture();
    let out = fixture.tamiz(&["rules", "list"]).ok();
    assert!(out.contains("IP_TOR") && out.contains("LOCATION_INSIDE_PRISON"), "{out}");
    let json = fixture.tamiz(&["rules", "list", "good.toml", "--json"]).json();
    assert_eq!(json[0]["rules"][0]["reads"], json!(["session.session_id"]));
    assert_eq!(json[0]["rules"][0]["weight"], json!(0.9));
}

#[test]
fn publish_needs_the_log_for_itself() {
    let fixture = fixture();
    let (_, err) = fixture.tamiz(&["rules", "publish", "bad.toml"]).failed();
    assert!(err.contains("bad.toml:4:9"), "{err}");
    assert!(!fixture.path("log").exists(), "a file with mistakes opens no log");
    let _log = fixture.log();
    let (_, err) = fixture.tamiz(&["rules", "publish", "good.toml"]).failed();
    assert!(err.contains("open in another process") && err.contains("rules.file"), "{err}");
}
