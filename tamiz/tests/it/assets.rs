use crate::fixture::Fixture;
use serde_json::json;

const LIST: &str = "185.220.101.1\n";

/// Makes a manifest of one data set, which is a file of this machine.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.write("list.txt", LIST);
    let (sha256, size) = (schemas::sha256_hex(LIST.as_bytes()), LIST.len());
    let manifest = format!(
        "version = 1\n[[data_set]]\nname = \"ip.tor\"\ntitle = \"Exits\"\ndefault = true\nformat = \"addresses\"\n\
         date = \"2020-01-01\"\nage_days_max = 30\nlicence = \"CC0-1.0\"\nattribution = \"nobody\"\n\
         source = {{ kind = \"file\", path = \"list.txt\" }}\n\
         [[data_set.file]]\npath = \"list.txt\"\nsha256 = \"{sha256}\"\nsize_bytes = {size}\n"
    );
    fixture.write("manifest.toml", manifest);
    fixture
}

#[test]
fn what_is_installed_is_shown_and_verified() {
    let fixture = fixture();
    let place = ["--manifest", "manifest.toml", "--folder", "data"];
    let run = |args: &[&str]| fixture.tamiz(&[&["assets"], args, place.as_slice()].concat());
    let state = |args: &[&str]| run(args).json()[0][0]["state"].clone();
    assert_eq!(state(&["status", "--json"]), "missing");
    let (out, err) = run(&["verify"]).failed();
    assert!(out.contains("ip.tor is not installed: run `tamiz assets install`"), "{out}");
    assert!(err.contains("not as installed: ip.tor"), "{err}");

    let answer = run(&["install"]);
    assert!(
        answer.err.contains("ip.tor: installed"),
        "progress is told where nobody sees it change: {}",
        answer.err
    );
    assert!(answer.ok().contains("1 data set installed, 0 there already"));
    assert_eq!(run(&["install", "--json", "--quiet"]).json()[0]["present"], json!(["ip.tor"]));
    let json = run(&["verify", "--json"]).json();
    let data_set = &json[0][0];
    assert_eq!((&data_set["state"], &data_set["is_stale"]), (&json!("installed"), &json!(true)));
    assert_eq!(data_set["licence"], "CC0-1.0");
    let out = run(&["status"]).ok();
    assert!(out.contains("ip.tor is out of date: of 2020-01-01, and taken for fresh for 30 days"), "{out}");

    let file = data_set["files"][0].as_str().expect("the file is named");
    fixture.write(file, LIST.replace("185", "186"));
    let (out, _) = run(&["verify"]).failed();
    assert!(out.contains("ip.tor is damaged"), "{out}");
    run(&["install", "--set", "ip.tor"]).ok();
    run(&["verify"]).ok();
}

#[test]
fn the_built_in_manifest_is_the_default() {
    let fixture = Fixture::new();
    let json = fixture.tamiz(&["assets", "status", "--json"]).json();
    let names: Vec<&str> =
        json[0].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    assert!(names.contains(&"ip.country") && names.contains(&"places.prisons"), "{names:?}");
    let (_, err) = fixture.tamiz(&["assets", "install", "--set", "ip.contry"]).failed();
    assert!(err.contains("did you mean \"ip.country\"?"), "{err}");
    assert_eq!(fixture.tamiz(&["assets", "install", "--all", "--set", "ip.tor"]).code, Some(2));
}
