//! How cases and differences are written: JSON that is short enough for its line stays on it.

use serde_json::Value;

/// Characters of a line.
const WIDTH: usize = 120;
/// Lines shown around a difference.
const CONTEXT: usize = 2;

/// Returns the text of a value, without a line feed at its end.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, 0, &mut out);
    out
}

/// Writes a value that begins at a column and is followed by so many characters at least.
fn write(value: &Value, indent: usize, column: usize, out: &mut String) {
    let compact = compact(value);
    if column + compact.chars().count() < WIDTH {
        out.push_str(&compact);
        return;
    }
    match value {
        Value::Array(items) if !items.is_empty() => {
            let items = items.iter().map(|item| (String::new(), item));
            write_members(items, ('[', ']'), indent, out);
        }
        Value::Object(members) if !members.is_empty() => {
            let members = members.iter().map(|(name, member)| (format!("{}: ", quoted(name)), member));
            write_members(members, ('{', '}'), indent, out);
        }
        // A long text stays whole.
        _ => out.push_str(&compact),
    }
}

fn write_members<'a>(
    members: impl Iterator<Item = (String, &'a Value)>,
    (open, close): (char, char),
    indent: usize,
    out: &mut String,
) {
    let inner = indent + 2;
    out.push(open);
    for (index, (name, member)) in members.enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str(&" ".repeat(inner));
        out.push_str(&name);
        write(member, inner, inner + name.chars().count(), out);
    }
    out.push('\n');
    out.push_str(&" ".repeat(indent));
    out.push(close);
}

fn compact(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(compact).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(name, member)| format!("{}: {}", quoted(name), compact(member)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
        other => other.to_string(),
    }
}

fn quoted(name: &str) -> String {
    Value::from(name).to_string()
}

/// Returns the lines that two texts do not share, with some around them: `-` for the first text's, `+` for the second's.
pub(super) fn difference(before: &str, after: &str) -> String {
    let lines = edits(&before.lines().collect::<Vec<_>>(), &after.lines().collect::<Vec<_>>());
    let near = |place: usize| {
        let around = &lines[place.saturating_sub(CONTEXT)..(place + CONTEXT + 1).min(lines.len())];
        around.iter().any(|(sign, _)| *sign != ' ')
    };
    let mut out = String::new();
    let mut left_out = false;
    for (place, (sign, line)) in lines.iter().enumerate() {
        if near(place) {
            if left_out {
                out.push_str("  …\n");
            }
            out.push_str(&format!("{sign} {line}\n"));
        }
        left_out = !near(place);
    }
    out
}

/// Returns the lines of both texts in order, those of their longest common subsequence once.
fn edits<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<(char, &'a str)> {
    // Length of the longest common subsequence of what follows each pair of places.
    let mut common = vec![vec![0u32; after.len() + 1]; before.len() + 1];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            common[i][j] = if before[i] == after[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            lines.push((' ', before[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == after.len() || (i < before.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', before[i]));
            i += 1;
        } else {
            lines.push(('+', after[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn short_values_stay_on_their_line_and_long_ones_are_read_again() {
        assert_eq!(
            text(&json!({"a": [1, {"b": null}], "c": "d\n"})),
            r#"{"a": [1, {"b": null}], "c": "d\n"}"#
        );
        let long = json!({"names": vec!["a name of some length"; 9], "empty": {}, "text": "x".repeat(200)});
        let written = text(&long);
        assert_eq!(serde_json::from_str::<Value>(&written).expect("it is JSON"), long);
        assert!(written.starts_with("{\n  \"names\": [\n    \"a name"), "{written}");
        assert!(
            written.lines().all(|line| line.chars().count() <= WIDTH || line.contains("xxx")),
            "{written}"
        );
    }

    #[test]
    fn a_difference_shows_what_changed_and_little_more() {
        let before: Vec<String> = (0..20).map(|line| line.to_string()).collect();
        let mut after = before.clone();
        after[10] = "ten".into();
        after.push("20".into());
        let shown = difference(&before.join("\n"), &after.join("\n"));
        assert_eq!(shown, "  …\n  8\n  9\n- 10\n+ ten\n  11\n  12\n  …\n  18\n  19\n+ 20\n");
        assert_eq!(difference("a\nb", "a\nb"), "");
    }
}
