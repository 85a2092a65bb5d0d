//! What the JSON file promises to its readers.

use serde_json::{Value, json, to_value};

use super::*;

/// Whoever changes this changes the files that others read: see [`FORMAT`].
#[test]
fn the_json_file_has_the_shape_that_the_readme_describes() {
    let report = to_value(made_up::report()).expect("it can be JSON");
    let keys = |value: &Value| -> Vec<String> {
        let object = value.as_object().expect("it is an object");
        object.keys().cloned().collect()
    };
    let of_report = "complete date experiments format machine missing mode seconds workers";
    assert_eq!(keys(&report).join(" "), of_report);
    assert_eq!(report["format"], 1);
    assert_eq!(report["mode"], "default");

    let entries = &report["experiments"];
    let of_entry = "claim headline left_out name plots reason seconds tables verdict";
    assert_eq!(keys(&entries[0]).join(" "), of_entry);
    assert_eq!(entries[4]["verdict"], "not_measured");

    let table = &entries[0]["tables"][0];
    assert_eq!(keys(table).join(" "), "bars header rows title");
    let [median, low, high] = [25e-6, 25e-6 * 0.9, 25e-6 * 1.2];
    let figure =
        json!({"median": median, "low": low, "high": high, "samples": 12, "unit": "seconds"});
    assert_eq!(table["rows"][0][0], json!({"text": "thread"}));
    assert_eq!(table["rows"][0][1], json!({"figure": figure}));
    let outcome = json!({"text": "by abort, 0 < 3 lost", "good": false});
    assert_eq!(
        entries[1]["tables"][0]["rows"][1][1],
        json!({"outcome": outcome})
    );

    let plot = &entries[2]["plots"][1];
    let rate = json!({"label": "rate", "unit": "bytes_per_second", "logarithmic": true});
    assert_eq!(plot["y"], rate);
    let point =
        json!({"x": 64.0, "median": 5e6, "low": 5e6 * 0.9, "high": 5e6 * 1.2, "samples": 12});
    assert_eq!(plot["lines"][0]["points"][0], point);
}

#[test]
fn the_json_file_can_be_read_back() {
    let text = serde_json::to_string(&made_up::report()).expect("it can be JSON");
    let report: Report = serde_json::from_str(&text).expect("it can be read");
    // Numbers may differ in their last digit, which nobody is shown.
    assert_eq!(html::page(&report), html::page(&made_up::report()));
}
