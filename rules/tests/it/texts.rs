//! What a fired rule tells.

use rules::{OwnedValue, RuleSet};

use crate::frame::{bool, catalogue, double, facts, text};

#[test]
fn a_fired_rule_carries_texts_and_the_values_it_saw() {
    let source = r#"
name = "texts"
[[rule]]
code = "NEAR"
when = "geo.location.prison_distance_m < 50.0 && ip.country_code in policy.home_countries"
severity = "review"
weight = 35
risk_flag = "near"
values = ["ip.tor", "ip.country_code", "ip.state"]
text.en = "{geo.location.prison_distance_m:1} m from {geo.location.prison_name} {{sic}}"
text.es = "a {geo.location.prison_distance_m:1} m de {geo.location.prison_name}, Tor: {ip.tor}"
"#;
    let catalogue = catalogue();
    let rule_set = RuleSet::load(source, &catalogue).unwrap();
    let known = facts(
        &catalogue,
        &[
            ("geo.location.prison_distance_m", double(12.345)),
            ("ip.country_code", text("MX")),
            ("ip.tor", bool(true)),
        ],
    );
    let evaluation = rule_set.evaluate("", &known);
    let fired = &evaluation.fired[0];
    assert_eq!(fired.text_en, "12.3 m from unknown {sic}");
    assert_eq!(fired.text_es, "a 12.3 m de desconocido, Tor: sí");
    assert_eq!(fired.risk_flag, Some("near"));
    assert_eq!(
        fired.values,
        [
            ("geo.location.prison_distance_m", double(12.345)),
            ("ip.country_code", text("MX")),
            ("policy.home_countries", OwnedValue::TextList(vec!["MX".to_owned()])),
            ("ip.tor", bool(true)),
            ("ip.state", OwnedValue::Unknown),
            ("geo.location.prison_name", OwnedValue::Unknown),
        ]
    );
}
