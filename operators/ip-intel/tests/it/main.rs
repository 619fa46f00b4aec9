//! The cases of `tests/golden`.

#[test]
fn golden_cases() {
    pipeline::golden::check("tests/golden", &[&ip_intel::REGISTRATION], |_| {});
}
